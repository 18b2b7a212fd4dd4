"""Lets autovacuum clean the two large tables of PostgreSQL sooner.

Each delivery leaves a dead row, and autovacuum by itself waits until a fifth of a table is dead: the tables of a year
would grow by as much. A table of which somebody has said when it is to be vacuumed stays as it is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_SHARE = 0.05  # of a table's rows that may be dead
_SAID = sa.text(
    "SELECT 1 FROM pg_catalog.pg_class WHERE oid = to_regclass(:name)::oid "
    "AND reloptions::text LIKE '%autovacuum_vacuum_scale_factor=%'"
)


def upgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for table in ("event_store", "event_deliveries"):
        if op.get_context().as_sql or not op.get_bind().scalar(_SAID, {"name": table}):
            op.execute(f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = {_SHARE})")
