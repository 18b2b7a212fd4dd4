"""Events from elsewhere are found by the id that they have there.

And on SQLite an id that a program writes in a spelling of its own is refused if another event has it, as it always was
in the usual spelling.
"""

from alembic import op

from events.store.database.types import sender_event_id
from events.store.schema.sqlite_triggers import CANONICAL_ID

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    there = sender_event_id().is_not(None)
    op.create_index(
        "event_store_sent_as", "event_store", [sender_event_id()], postgresql_where=there, sqlite_where=there
    )
    if op.get_context().dialect.name == "sqlite":
        op.execute("DROP TRIGGER event_store_canonical_id")
        op.execute(CANONICAL_ID)
