"""Reads which handlers take and publish which events. Keeps the contract of events.ledger.Lineage."""

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
        types_of: dict[str, set[str]] = {}
        with look(self._engine) as connection:
            for handler, event_type in connection.execute(select(_SUBSCRIPTION.handler, _SUBSCRIPTION.event_type)):
                types_of.setdefault(handler, set()).add(event_type)
        return types_of

    def caused(self, limit: int) -> dict[str, set[str]]:
        # Ids are ordered by time, so the last causes are the newest; other programs' ids may have any order.
        cause = causation_id()
        newest = select(_EVENT.event_type, cause).where(cause.is_not(None)).order_by(cause.desc()).limit(limit)
        with look(self._engine) as connection:
            effects: dict[UUID, set[str]] = {}
            for event_type, caused_by in connection.execute(newest):
                if (event_id := _as_id(caused_by)) is not None:
                    effects.setdefault(event_id, set()).add(event_type)
            causes_of: dict[str, set[str]] = {}
            ids = list(effects)
            for start in range(0, len(ids), _AT_ONCE):
                causes = select(_EVENT.id, _EVENT.event_type).where(_EVENT.id.in_(ids[start : start + _AT_ONCE]))
                for event_id, event_type in connection.execute(causes):
                    for effect in effects[event_id]:
                        causes_of.setdefault(effect, set()).add(event_type)
        return causes_of


def _as_id(text: str) -> UUID | None:
    try:
        return UUID(str(text))  # SQLite may return a number
    except ValueError:  # a publisher may name anything as a cause
        return None
