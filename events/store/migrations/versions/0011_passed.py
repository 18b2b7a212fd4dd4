"""To find at once what a worker that can't run it has passed on, and not to give it to others like it."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("event_deliveries", sa.Column("unread", sa.String(64)))
    passed = sa.text("state = 'pending' AND passes > 0")
    op.create_index(
        "event_deliveries_passed", "event_deliveries", ["due_at"], postgresql_where=passed, sqlite_where=passed
    )
