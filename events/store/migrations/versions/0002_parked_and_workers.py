"""Parked messages, and the workers that live."""

import sqlalchemy as sa
from alembic import op

from events.store.database.types import Id, Json, UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "event_parked",
        sa.Column("id", Id, nullable=False),
        sa.Column("queue", sa.String(255), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("properties", Json, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("worker", sa.String(255)),
        sa.Column("parked_at", UtcDateTime, nullable=False),
        sa.Column("closed_at", UtcDateTime),
        sa.PrimaryKeyConstraint("id", name="event_parked_pkey"),
    )
    where = sa.text("state = 'parked'")
    op.create_index("event_parked_open", "event_parked", ["parked_at"], postgresql_where=where, sqlite_where=where)
    op.create_table(
        "event_workers",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("pool", sa.String(32), nullable=False),
        sa.Column("concurrency", sa.Integer, nullable=False),
        sa.Column("pool_size", sa.Integer, nullable=False),
        sa.Column("queues", Json, nullable=False),
        sa.Column("handlers", Json, nullable=False),
        sa.Column("clock_ahead", sa.Float, nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("seen_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("name", name="event_workers_pkey"),
    )
