"""Run by Alembic, with the connection and transaction that events.store.schema gives it."""

from alembic import context

from events.store.schema import VERSION_TABLE
from events.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=False,  # the transaction is the caller's
)
context.run_migrations()
