"""The ledger: events, deliveries, subscriptions."""

import sqlalchemy as sa
from alembic import op

from events.store.database.types import Id, Json, UtcDateTime, utc_now
from events.store.schema.foreign_table import is_there
from events.store.schema.sqlite_triggers import CANONICAL_ID

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    context = op.get_context()
    if context.as_sql or not is_there(
        op.get_bind()
    ):  # else events.store.schema.adopting has just brought it into this form
        _create_event_store()
    unprocessed = sa.text("processed = false") if context.dialect.name == "postgresql" else sa.text("processed = 0")
    op.create_index(
        "event_store_unprocessed",
        "event_store",
        ["processed", "timestamp"],
        postgresql_where=unprocessed,
        sqlite_where=unprocessed,
    )
    op.create_index("event_store_aggregate", "event_store", ["aggregate_id", "version"])
    op.create_table(
        "event_deliveries",
        sa.Column("event_id", Id, nullable=False),
        sa.Column("handler", sa.String(255), nullable=False),
        sa.Column("queue", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("attempts_before", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("replays", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("due_at", UtcDateTime, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("sent_at", UtcDateTime),
        sa.Column("first_started_at", UtcDateTime),
        sa.Column("started_at", UtcDateTime),
        sa.Column("finished_at", UtcDateTime),
        sa.Column("worker", sa.String(255)),
        sa.Column("error_type", sa.String(255)),
        sa.Column("error", sa.Text),
        sa.Column("traceback", sa.Text),
        sa.Column("copied", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("event_id", "handler", name="event_deliveries_pkey"),
    )
    for name, state, columns in (
        ("event_deliveries_pending", "pending", ["queue", "due_at"]),
        ("event_deliveries_sent", "sent", ["queue", "sent_at"]),
        ("event_deliveries_running", "running", ["due_at"]),
        ("event_deliveries_dead", "dead", ["finished_at"]),
    ):
        where = sa.text(f"state = '{state}'")
        op.create_index(name, "event_deliveries", columns, postgresql_where=where, sqlite_where=where)
    op.create_table(
        "event_subscriptions",
        sa.Column("handler", sa.String(255), nullable=False),
        sa.Column("event_type", sa.String(255), nullable=False),
        sa.Column("queue", sa.String(255), nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False, server_default=utc_now()),
        sa.PrimaryKeyConstraint("handler", "event_type", name="event_subscriptions_pkey"),
    )
    if context.dialect.name == "sqlite":
        op.execute(CANONICAL_ID)


def _create_event_store() -> None:
    op.create_table(
        "event_store",
        sa.Column("id", Id, nullable=False),
        sa.Column("aggregate_id", sa.String(255), nullable=True),
        sa.Column("event_type", sa.String(255), nullable=False),
        sa.Column("event_data", Json, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default=sa.text("1")),
        sa.Column("timestamp", UtcDateTime, nullable=False, server_default=utc_now()),
        sa.Column("processed", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("created_at", UtcDateTime, nullable=False, server_default=utc_now()),
        sa.Column("schema_version", sa.Integer, nullable=False, server_default=sa.text("1")),
        sa.Column("metadata", Json, nullable=False, server_default=sa.text("'{}'")),
        sa.PrimaryKeyConstraint("id", name="event_store_pkey"),
    )
