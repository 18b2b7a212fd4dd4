"""What operators steer and see: paused handlers, masked fields, the event type of a delivery, correlation."""

import sqlalchemy as sa
from alembic import op

from events.store.database.types import Id, Json, UtcDateTime, correlation_id, is_correlated

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("event_deliveries", sa.Column("event_type", sa.String(255)))
    op.execute(
        "UPDATE event_deliveries SET event_type = "
        "(SELECT event_type FROM event_store WHERE event_store.id = event_deliveries.event_id)"
    )
    op.add_column("event_attempts", sa.Column("traceparent", sa.String(64)))
    op.add_column("event_subscriptions", sa.Column("masked", Json, nullable=False, server_default=sa.text("'[]'")))
    op.add_column("event_workers", sa.Column("activity", Json, nullable=False, server_default=sa.text("'{}'")))
    told = _actions_before() if op.get_context().as_sql else None  # SQLite makes it anew, and there is none to look at
    with op.batch_alter_table("event_actions", copy_from=told) as actions:
        # What is done to a handler is done to no single event.
        actions.alter_column("event_id", nullable=True)
    op.create_table(
        "event_handlers",
        sa.Column("handler", sa.String(255), nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("changed_by", sa.String(255), nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("handler", name="event_handlers_pkey"),
    )
    paused = sa.text("state = 'paused'")
    op.create_index(
        "event_deliveries_paused", "event_deliveries", ["handler"], postgresql_where=paused, sqlite_where=paused
    )
    op.create_index(
        "event_store_correlated",
        "event_store",
        [correlation_id()],
        postgresql_where=is_correlated(),
        sqlite_where=is_correlated(),
    )


def _actions_before() -> sa.Table:
    """As 0005 makes it."""
    table = sa.Table(
        "event_actions",
        sa.MetaData(),
        sa.Column("id", Id, nullable=False),
        sa.Column("event_id", Id, nullable=False),
        sa.Column("handler", sa.String(255), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("acted_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="event_actions_pkey"),
    )
    sa.Index("event_actions_event", table.c.event_id, table.c.handler, table.c.acted_at)
    return table
