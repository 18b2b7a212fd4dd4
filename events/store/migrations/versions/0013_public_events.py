"""Remembers which events are public: those may come in through a bridge."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("event_subscriptions", sa.Column("public", sa.Boolean, nullable=False, server_default=sa.false()))
