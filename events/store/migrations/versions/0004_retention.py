"""Finds what is old enough to be pruned."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    processed = sa.column("processed", sa.Boolean) == sa.true()
    op.create_index(
        "event_store_processed",
        "event_store",
        ["created_at", "id"],
        postgresql_where=processed,
        sqlite_where=processed,
    )
    closed = sa.text("state <> 'parked'")
    op.create_index("event_parked_closed", "event_parked", ["closed_at"], postgresql_where=closed, sqlite_where=closed)
