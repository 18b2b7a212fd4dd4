"""Remembers each attempt that failed, where in the application, and what operators did."""

import sqlalchemy as sa
from alembic import op

from events.store.database.types import Id, UtcDateTime, causation_id

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("event_deliveries", sa.Column("place", sa.String(255)))
    op.create_table(
        "event_attempts",
        sa.Column("event_id", Id, nullable=False),
        sa.Column("handler", sa.String(255), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("worker", sa.String(255)),
        sa.Column("started_at", UtcDateTime),
        sa.Column("ended_at", UtcDateTime, nullable=False),
        sa.Column("error_type", sa.String(255)),
        sa.Column("error", sa.Text),
        sa.Column("traceback", sa.Text),
        sa.Column("place", sa.String(255)),
        sa.PrimaryKeyConstraint("event_id", "handler", "attempt", name="event_attempts_pkey"),
    )
    op.create_table(
        "event_actions",
        sa.Column("id", Id, nullable=False),
        sa.Column("event_id", Id, nullable=False),
        sa.Column("handler", sa.String(255), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("acted_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="event_actions_pkey"),
    )
    caused = causation_id().is_not(None)
    op.create_index("event_store_caused", "event_store", [causation_id()], postgresql_where=caused, sqlite_where=caused)
    op.create_index("event_actions_event", "event_actions", ["event_id", "handler", "acted_at"])
