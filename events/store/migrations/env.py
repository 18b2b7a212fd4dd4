"""Run by Alembic: with the connection that `store.schema.migrating` gives it, or to write SQL, with none."""

from alembic import context

from events.store.schema.migrating import VERSION_TABLE
from events.store.tables import metadata

given = context.config.attributes
if context.is_offline_mode():
    how = {"dialect_name": given["dialect"], "dialect_opts": {"paramstyle": "named"}, "literal_binds": True}
else:
    how = {"connection": given["connection"]}
context.configure(
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=False,  # the transaction is the caller's
    **how,
)
context.run_migrations()
