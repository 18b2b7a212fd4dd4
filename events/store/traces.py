"""Reads the traces of events and of failed attempts. Keeps the contract of events.ledger.Traces."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Engine, select

from events.ledger import Carrier
from events.store.database.engine import look
from events.store.database.types import of_metadata
from events.store.tables import event_attempts, event_store

_EVENT, _ATTEMPT = event_store.c, event_attempts.c


class _traceparent(of_metadata):  # noqa: N801 - an SQL function
    inherit_cache = True
    key = "traceparent"


class _tracestate(of_metadata):  # noqa: N801
    inherit_cache = True
    key = "tracestate"


class SqlTraces:
    """Used only while tracing is on."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of_events(self, event_ids: Collection[UUID]) -> dict[UUID, Carrier]:
        query = select(_EVENT.id, _traceparent(), _tracestate()).where(_EVENT.id.in_(list(event_ids)))
        carriers: dict[UUID, Carrier] = {}
        with look(self._engine) as connection:
            for event_id, parent, state in connection.execute(query):
                if isinstance(parent, str):  # another program may have written anything into the metadata
                    carriers[event_id] = {"traceparent": parent}
                    if isinstance(state, str):
                        carriers[event_id]["tracestate"] = state
        return carriers

    def before(self, event_id: UUID, handler: str, token: int) -> str | None:
        query = (
            select(_ATTEMPT.traceparent)
            .where(_ATTEMPT.event_id == event_id, _ATTEMPT.handler == handler, _ATTEMPT.attempt < token)
            .order_by(_ATTEMPT.attempt.desc())
            .limit(1)
        )
        with look(self._engine) as connection:
            return connection.scalar(query)
