"""A group of deliveries is claimed by one row: the lease of its message.

Older code knows of no leases: see events.store.leases for what that means while it still runs.
"""

import sqlalchemy as sa
from alembic import op

from events.store.database.types import Ids, UtcDateTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "event_leases",
        sa.Column("message", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("handler", sa.String(255), nullable=False),
        sa.Column("event_ids", Ids, nullable=False),
        sa.Column("worker", sa.String(255), nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("until", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("message", name="event_leases_pkey"),
    )
    op.create_index("event_leases_until", "event_leases", ["until"])
