"""The tables as they are made and found: migrating, adopting an `event_store` of others, the schema of EVENTS_SCHEMA.

May import: store.database, store.tables. Open first: `migrating`.
"""
