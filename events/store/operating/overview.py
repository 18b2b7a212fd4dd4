"""Counts what stands in the ledger. Keeps the contract of events.ledger.Overviews.

What is not finished is found by partial indexes. To count what is finished a database has to read it all: seconds, with
millions of rows, so whoever shows it often keeps it for a while.
"""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, and_, func, literal, select

from events.ledger import (
    ALIVE,
    LATELY,
    ONE_BY_ONE,
    EventFilter,
    EventMetrics,
    HandlerMetrics,
    MarkedByOthers,
    Orphan,
    Overview,
    State,
    WorkerInfo,
)
from events.store.arrivals import first_stored
from events.store.database.engine import look, now_plus
from events.store.database.snapshots import snapshot
from events.store.database.types import UtcDateTime
from events.store.marked_by_others import marked_by_others
from events.store.operating.history import find
from events.store.operating.parked import counts as parked_counts
from events.store.tables import (
    event_attempts,
    event_deliveries,
    event_handlers,
    event_store,
    event_subscriptions,
    in_state,
    is_new,
    is_processed,
    is_unprocessed,
)
from events.store.waiting_queues import heads
from events.store.workers import alive

_EVENT, _DELIVERY, _ATTEMPT = event_store.c, event_deliveries.c, event_attempts.c
_SUBSCRIPTION, _HANDLER = event_subscriptions.c, event_handlers.c
_UNFINISHED = (State.PENDING, State.SENT, State.RUNNING, State.DEAD, State.PAUSED)
_NOT_BEGUN = (State.PENDING, State.SENT, State.PAUSED)
_TYPE = func.coalesce(_DELIVERY.event_type, "")  # older rows may have none


class SqlOverviews:
    """A few grouped queries, of one moment: what a delivery leaves while they run it is still in, and is in once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def take(self, *, finished: bool = True, newest: int = 0) -> Overview:
        with snapshot(self._engine) as connection:
            now = _now(connection)
            workers = alive(connection, ALIVE)
            parked = parked_counts(connection)
            subscriptions = connection.execute(
                select(
                    _SUBSCRIPTION.handler, _SUBSCRIPTION.event_type, _SUBSCRIPTION.queue, _SUBSCRIPTION.pace,
                    _SUBSCRIPTION.orphaned_at,
                )
            ).all()  # fmt: skip
            switched = {row.handler: row for row in connection.execute(select(event_handlers))}
            deliveries = _deliveries(connection, finished=finished)
            errors = _errors(connection) if finished else Counter()
            subscribed = {row.event_type for row in subscriptions}
            types = _event_types(connection, now, deliveries, errors, finished=finished)
            ages = {row.queue: 0.0 for row in subscriptions}
            ages |= {queue: _age(due_at, now) for queue, due_at in connection.execute(select(heads()))}
            lag = _age(_first_in_line(connection), now)
            marked = marked_by_others(connection) if finished else MarkedByOthers()
            latest = find(connection, EventFilter(limit=newest)) if newest else []
        names = sorted({row.handler for row in subscriptions} | {handler for handler, *_ in deliveries})
        return Overview(
            taken_at=now,
            finished=finished,
            event_types=types,
            handlers=[_handler(name, subscriptions, switched, deliveries, errors, workers) for name in names],
            unhandled_types=[one.event_type for one in types if one.waiting and one.event_type not in subscribed],
            oldest_due=ages,
            lag=lag,
            parked=parked,
            workers=workers,
            unread=_unread(subscriptions, workers),
            marked=marked,
            newest=latest,
        )

    def unfinished(self) -> Overview:
        return self.take(finished=False)

    def marked_by_others(self) -> MarkedByOthers:
        with look(self._engine) as connection:
            return marked_by_others(connection)

    def running(self) -> list[tuple[str, float, str, int]]:
        query = select(_DELIVERY.handler, _DELIVERY.started_at, _DELIVERY.worker).where(in_state(State.RUNNING))
        found: dict[str, tuple[float, str, int]] = {}
        with look(self._engine) as connection:
            now = _now(connection)
            for handler, started_at, worker in connection.execute(query.order_by(_DELIVERY.started_at)):
                seconds, first, count = found.get(handler, (_age(started_at, now), worker or "?", 0))
                found[handler] = (seconds, first, count + 1)
        return [(handler, *told) for handler, told in sorted(found.items())]


Key = tuple[str, str]  # handler, event type


def _deliveries(connection: Connection, *, finished: bool) -> dict[tuple[str, str, str], int]:
    """By handler, event type and state."""
    query = select(_DELIVERY.handler, _TYPE, _DELIVERY.state, func.count()).group_by(
        _DELIVERY.handler, _TYPE, _DELIVERY.state
    )
    if finished:
        return {(row[0], row[1], row[2]): row[3] for row in connection.execute(query)}
    found: dict[tuple[str, str, str], int] = {}
    for state in _UNFINISHED:  # one by one, each by its own index
        found |= {(row[0], row[1], row[2]): row[3] for row in connection.execute(query.where(in_state(state)))}
    return found


def _errors(connection: Connection) -> Counter[Key]:
    """Attempts that failed."""
    same = and_(_ATTEMPT.event_id == _DELIVERY.event_id, _ATTEMPT.handler == _DELIVERY.handler)
    query = (
        select(_ATTEMPT.handler, _TYPE, func.count())
        .join_from(event_attempts, event_deliveries, same)
        .group_by(_ATTEMPT.handler, _TYPE)
    )
    return Counter({(row[0], row[1]): row[2] for row in connection.execute(query)})


def _event_types(
    connection: Connection,
    now: datetime,
    deliveries: dict[tuple[str, str, str], int],
    errors: Counter[Key],
    *,
    finished: bool,
) -> list[EventMetrics]:
    by_type = select(_EVENT.event_type, func.count()).group_by(_EVENT.event_type)

    def counted(*conditions: Any) -> Counter[str]:
        return Counter({row[0]: row[1] for row in connection.execute(by_type.where(*conditions))})

    waiting = counted(is_new)  # from an index alone
    since = literal(now - timedelta(seconds=LATELY), UtcDateTime)
    # Those that are not fanned out by when they occurred, for which there is an index: mostly it is the same.
    lately = counted(is_processed, _EVENT.created_at >= since) + counted(is_unprocessed, _EVENT.timestamp >= since)
    done = counted(is_processed) if finished else Counter[str]()
    failed: Counter[str] = Counter()
    for (_, kind), count in errors.items():
        failed[kind] += count
    states: dict[str, Counter[str]] = {}
    for (_, kind, state), count in deliveries.items():
        states.setdefault(kind, Counter())[state] += count
    return [
        EventMetrics(kind, done[kind] + waiting[kind], failed[kind], waiting[kind], lately[kind], states.get(kind, {}))
        for kind in sorted(done.keys() | waiting.keys() | lately.keys() | (states.keys() - {""}))
    ]


def _handler(
    name: str,
    subscriptions: Any,
    switched: dict[str, Any],
    deliveries: dict[tuple[str, str, str], int],
    errors: Counter[Key],
    workers: list[WorkerInfo],
) -> HandlerMetrics:
    theirs = [row for row in subscriptions if row.handler == name]
    states: Counter[str] = Counter()
    for (handler, _, state), count in deliveries.items():
        if handler == name:
            states[state] += count
    rates: Counter[str] = Counter()
    for worker in workers:
        for outcome, a_second in worker.activity.get(name, {}).items():
            rates[outcome] += a_second  # type: ignore[assignment]
    switch = switched.get(name)
    pace = theirs[0].pace if theirs else None
    return HandlerMetrics(
        handler=name,
        queue=theirs[0].queue if theirs else "",
        event_types=sorted(row.event_type for row in theirs),
        paused=switch is not None and switch.paused,
        changed_by=switch.changed_by if switch else None,
        changed_at=switch.changed_at if switch else None,
        workers=sum(name in worker.handlers for worker in workers),
        seconds=None if pace == ONE_BY_ONE else pace,
        one_by_one=pace == ONE_BY_ONE,
        deliveries=states,
        error_count=sum(count for (handler, _), count in errors.items() if handler == name),
        rates=rates,
        orphans=_orphans(name, theirs, deliveries, workers),
    )


def _orphans(
    handler: str, subscriptions: Any, deliveries: dict[tuple[str, str, str], int], workers: list[WorkerInfo]
) -> list[Orphan]:
    """What it is subscribed to, or what waits for it, and nobody has. Nobody can tell while no worker lives."""
    since = {row.event_type: row.orphaned_at for row in subscriptions}
    waiting: Counter[str] = Counter()
    for (name, kind, state), count in deliveries.items():
        if name == handler and state in _NOT_BEGUN:
            waiting[kind] += count
    return [
        Orphan(kind, since.get(kind), waiting[kind])
        for kind in sorted(since.keys() | (waiting.keys() - {""}))
        if workers and not any(worker.has(handler, kind) for worker in workers)
    ]


def _unread(subscriptions: Any, workers: list[WorkerInfo]) -> list[str]:
    had = {row.queue for row in subscriptions if any(worker.has(row.handler, row.event_type) for worker in workers)}
    return sorted(had - {queue for worker in workers for queue in worker.queues})


def _first_in_line(connection: Connection) -> datetime | None:
    """When the first event was stored, of those that somebody wants and that are not fanned out."""
    found: datetime | None = connection.scalar(first_stored())
    return found


def _now(connection: Connection) -> datetime:
    return connection.scalar(select(now_plus(connection))) or datetime.now(UTC)


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else round(max(0.0, (now - since).total_seconds()), 3)
