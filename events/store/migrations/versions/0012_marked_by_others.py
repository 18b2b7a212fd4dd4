"""Who fanned an event out, so that what another program marks as processed can be told from what we did.

Older code may still run: it marks what it fans out without a word of that. Such events have deliveries.
"""

import sqlalchemy as sa
from alembic import op

from events.store.database.types import UtcDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # What is processed by now is history, whoever did it. On PostgreSQL no row of that is touched.
    postgresql = op.get_context().dialect.name == "postgresql"
    default = sa.text("1" if postgresql else "0")
    op.add_column("event_store", sa.Column("fanned_out", sa.SmallInteger, nullable=False, server_default=default))
    if postgresql:
        op.alter_column("event_store", "fanned_out", server_default=sa.text("0"))
        op.execute("UPDATE event_store SET fanned_out = 0 WHERE processed IS NOT true")
    else:
        op.execute("UPDATE event_store SET fanned_out = 1 WHERE processed IS 1")
    marked = sa.text(f"processed IS NOT {'false' if postgresql else '0'} AND fanned_out != 1")
    op.create_index(
        "event_store_marked",
        "event_store",
        ["fanned_out", "created_at", "event_type"],
        postgresql_where=marked,
        sqlite_where=marked,
    )
    op.add_column("event_subscriptions", sa.Column("subscribed_at", UtcDateTime))
