"""Events of one type, newest first, in a ledger of millions. Who publishes doesn't pay for it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    processed = sa.text("processed = true")
    op.create_index(
        "event_store_type",
        "event_store",
        ["event_type", "created_at", "id"],
        postgresql_where=processed,
        sqlite_where=processed,
    )
