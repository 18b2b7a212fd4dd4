"""To find events of one type, and dead letters by what they have in common, among millions.

Who publishes doesn't pay for it, and neither does what succeeds.
"""

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
    dead = sa.text("state = 'dead'")
    for name, columns in (
        ("event_deliveries_dead_alike", ["handler", "error_type", "place"]),
        ("event_deliveries_dead_type", ["event_type"]),
    ):
        op.create_index(name, "event_deliveries", columns, postgresql_where=dead, sqlite_where=dead)
