"""Old and new code side by side: whose word counts, what nobody has any more, how often a delivery was handed back.

Workers of the version before may still run: they write none of these columns.
"""

import sqlalchemy as sa
from alembic import op

from events.store.database.types import Json, UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("event_deliveries", sa.Column("passes", sa.Integer, nullable=False, server_default=sa.text("0")))
    for column in (
        sa.Column("definition", sa.String(32)),
        sa.Column("definitions", Json, nullable=False, server_default=sa.text("'[]'")),
        sa.Column("orphaned_at", UtcDateTime),
        sa.Column("changed_at", UtcDateTime),
    ):
        op.add_column("event_subscriptions", column)
    op.add_column("event_workers", sa.Column("definitions", Json, nullable=False, server_default=sa.text("'{}'")))
