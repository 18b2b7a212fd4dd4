"""Who takes which events, and what came of them. Keeps the contract of events.ledger.Lineage."""

from uuid import UUID

from sqlalchemy import Engine, select

from events.store.database.engine import look
from events.store.database.types import causation_id
from events.store.tables import event_store, event_subscriptions

_EVENT, _SUBSCRIPTION = event_store.c, event_subscriptions.c
_AT_ONCE = 500  # ids in one query


class SqlLineage:
    """A few queries by index, whatever the ledger's size."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def subscribed(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        with look(self._engine) as connection:
            for handler, event_type in connection.execute(select(_SUBSCRIPTION.handler, _SUBSCRIPTION.event_type)):
                found.setdefault(handler, set()).add(event_type)
        return found

    def caused(self, limit: int) -> dict[str, set[str]]:
        # Ids are ordered by time, so the last causes are the newest; other programs' ids may be anything.
        cause = causation_id()
        newest = select(_EVENT.event_type, cause).where(cause.is_not(None)).order_by(cause.desc()).limit(limit)
        with look(self._engine) as connection:
            effects: dict[UUID, set[str]] = {}
            for event_type, caused_by in connection.execute(newest):
                if (event_id := _as_id(caused_by)) is not None:
                    effects.setdefault(event_id, set()).add(event_type)
            found: dict[str, set[str]] = {}
            ids = list(effects)
            for start in range(0, len(ids), _AT_ONCE):
                causes = select(_EVENT.id, _EVENT.event_type).where(_EVENT.id.in_(ids[start : start + _AT_ONCE]))
                for event_id, event_type in connection.execute(causes):
                    for effect in effects[event_id]:
                        found.setdefault(effect, set()).add(event_type)
        return found


def _as_id(text: str) -> UUID | None:
    try:
        return UUID(str(text))  # SQLite may have found a number
    except ValueError:  # a publisher may name whatever it likes as a cause
        return None
