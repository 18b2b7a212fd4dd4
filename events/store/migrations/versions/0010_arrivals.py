"""To look for new events type by type, so that those nobody wants hold up no others; SQLite takes rows of any form."""

import sqlalchemy as sa
from alembic import op

from events.store.schema.sqlite_triggers import PLAIN_ROWS

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    sqlite = op.get_context().dialect.name == "sqlite"
    if sqlite:  # what was not seen until now is seen from now on
        op.execute("UPDATE event_store SET processed = 0 WHERE processed IS NOT 0 AND processed IS NOT 1")
        for column in ("event_type", "aggregate_id"):
            op.execute(f"UPDATE event_store SET {column} = CAST({column} AS TEXT) WHERE typeof({column}) = 'blob'")
        for trigger in PLAIN_ROWS:
            op.execute(trigger)
    new = sa.text("processed IS NOT 1" if sqlite else "processed IS NOT true")
    op.create_index(
        "event_store_new",
        "event_store",
        ["event_type", "timestamp", "id"],
        postgresql_where=new,
        sqlite_where=new,
    )
