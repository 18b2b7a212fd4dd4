"""Deletes all rows of a ledger: for databases of tests, and for who empties the whole database."""

from sqlalchemy import Engine, delete, inspect

from events.store.database.engine import transaction
from events.store.schema.postgres_schema import schema
from events.store.tables import event_store, metadata


def empty(engine: Engine) -> None:
    """Delete all events, deliveries and everything else of the ledger. Nothing happens if there is no ledger."""
    with transaction(engine) as connection:
        if inspect(connection).has_table(event_store.name, schema()):
            for table in reversed(metadata.sorted_tables):
                connection.execute(delete(table))
