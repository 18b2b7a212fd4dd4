"""Several deliveries in one message, and what decides how many."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("event_deliveries", sa.Column("message", sa.BigInteger))
    for name in ("grouped", "alone"):
        op.add_column("event_deliveries", sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("event_subscriptions", sa.Column("most", sa.Integer, nullable=False, server_default=sa.text("1")))
    op.add_column("event_subscriptions", sa.Column("batch", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("event_subscriptions", sa.Column("linger", sa.Float, nullable=False, server_default=sa.text("0")))
    op.add_column("event_subscriptions", sa.Column("pace", sa.Float))
