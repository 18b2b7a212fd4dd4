"""Remembers the actions of operators: a row for each delivery that changed, and one row for an action on a whole
handler.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, insert

from events.definition import uuid7
from events.ledger import Action
from events.store.database.engine import now_plus
from events.store.tables import event_actions


def remember(connection: Connection, action: Action, actor: str, of: Sequence[tuple[UUID | None, str]]) -> None:
    """Write down an operator's action on these deliveries (event id, handler), or on a handler as a whole (no id)."""
    if of:
        rows = [{"id": uuid7(), "event_id": event_id, "handler": handler} for event_id, handler in of]
        shared = {"action": action.value, "actor": actor[:255], "acted_at": now_plus(connection)}
        connection.execute(insert(event_actions).values(shared), rows)
