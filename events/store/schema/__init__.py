"""Makes the tables, or adopts them: migrations, an `event_store` of another program, the schema of EVENTS_SCHEMA.

May import: store.database, store.tables. Open first: `migrating`.
"""
