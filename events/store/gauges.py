"""What stands in the ledger right now, by the indexes on what is unfinished: what is finished costs nothing.

Keeps the contract of events.operator_ports.Gauges.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import CompoundSelect, Engine, Select, func, literal_column, select, union_all

from events.letters import Standing
from events.records import State
from events.store.engine import look, moment, moments
from events.store.outbox import heads
from events.store.tables import (
    event_deliveries,
    event_parked,
    event_store,
    event_subscriptions,
    in_state,
    is_unprocessed,
)

_DELIVERY, _EVENT, _SUBSCRIPTION = event_deliveries.c, event_store.c, event_subscriptions.c
_COUNTED = (State.PENDING, State.SENT, State.RUNNING, State.DEAD, State.PAUSED)


class SqlGauges:
    """A few grouped counts, each a statement of its own: none sees the whole, and none holds anything up."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._dialect = engine.dialect.name

    def read(self) -> Standing:
        times = moments(self._dialect)
        with look(self._engine) as connection:
            known = connection.execute(_SUBSCRIBED).all()
            counts: dict[State, dict[str, int]] = {state: {one.handler: 0 for one in known} for state in _COUNTED}
            for handler, state, count in connection.execute(_BY_HANDLER):
                counts[State(state)][handler] = count
            ages = {one.queue: 0.0 for one in known}
            for queue, due_at, now in connection.execute(_oldest(self._dialect), times):
                ages[queue] = _seconds(now, due_at)
            late = connection.execute(_late(self._dialect), times).first()
            parked = {one.reason: one.number for one in connection.execute(_PARKED)}
        on_the_way = _sum(counts[State.SENT], counts[State.RUNNING])
        return Standing(
            backlog=counts[State.PENDING],
            in_flight=on_the_way,
            dead=counts[State.DEAD],
            paused=counts[State.PAUSED],
            oldest_pending=ages,
            outbox_lag=0.0 if late is None else _seconds(late.now, late.created_at),
            parked=parked,
        )


def _seconds(now: datetime, since: datetime) -> float:
    return max(0.0, (now - since).total_seconds())


def _sum(*parts: dict[str, int]) -> dict[str, int]:
    return {name: sum(part.get(name, 0) for part in parts) for name in _names(parts)}


def _names(parts: Iterable[dict[str, int]]) -> list[str]:
    return sorted({name for part in parts for name in part})


def _count(state: State) -> "Select[Any]":
    columns: Any = (_DELIVERY.handler, literal_column(f"'{state.value}'"), func.count())
    return select(*columns).where(in_state(state)).group_by(_DELIVERY.handler)


_SUBSCRIBED = select(_SUBSCRIPTION.handler, _SUBSCRIPTION.queue).distinct()
_BY_HANDLER: "CompoundSelect[Any]" = union_all(*(_count(state) for state in _COUNTED))
_PARKED = (
    select(event_parked.c.reason, func.count().label("number"))
    .where(event_parked.c.state == literal_column("'parked'"))
    .group_by(event_parked.c.reason)
)


@cache
def _oldest(dialect: str) -> "Select[Any]":
    return select(heads(), moment(dialect).label("now"))


@cache
def _late(dialect: str) -> "Select[Any]":
    """The first event in line, of those that somebody wants."""
    return (
        select(_EVENT.created_at, moment(dialect).label("now"))
        .where(is_unprocessed, _EVENT.event_type.in_(select(_SUBSCRIPTION.event_type)))
        .order_by(_EVENT.timestamp)
        .limit(1)
    )
