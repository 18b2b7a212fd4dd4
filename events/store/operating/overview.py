"""Counts the rows of the ledger. Keeps the contract of events.ledger.Overviews.

Unfinished events and deliveries are found by partial indexes. To count finished ones, a database has to read all of
them, which takes seconds with millions of rows; so pages that show these counts often keep them for a while.
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
from events.store.conditions import in_state
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
    is_new,
    is_processed,
    is_unprocessed,
)
from events.store.waiting_queues import heads
from events.store.workers import alive

_EVENT, _DELIVERY, _ATTEMPT, _SUBSCRIPTION = event_store.c, event_deliveries.c, event_attempts.c, event_subscriptions.c
_UNFINISHED = (State.PENDING, State.SENT, State.RUNNING, State.DEAD, State.PAUSED)
_NOT_BEGUN = (State.PENDING, State.SENT, State.PAUSED)
_TYPE = func.coalesce(_DELIVERY.event_type, "")  # older rows may have none


class SqlOverviews:
    """A few grouped queries of one moment: a delivery that changes while they run is counted once, in its old state."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def take(self, *, finished: bool = True, newest: int = 0) -> Overview:
        with snapshot(self._engine) as connection:
            now = _now(connection)
            workers = alive(connection, ALIVE)
            parked = parked_counts(connection)
            subscriptions = connection.execute(
                select(
                    _SUBSCRIPTION.handler,
                    _SUBSCRIPTION.event_type,
                    _SUBSCRIPTION.queue,
                    _SUBSCRIPTION.pace,
                    _SUBSCRIPTION.orphaned_at,
                )
            ).all()
            switched = {row.handler: row for row in connection.execute(select(event_handlers))}
            deliveries = _deliveries(connection, finished=finished)
            errors = _errors(connection) if finished else Counter()
            types = _event_types(connection, now, deliveries, errors, finished=finished)
            ages = {row.queue: 0.0 for row in subscriptions}
            ages |= {queue: _age(due_at, now) for queue, due_at in connection.execute(select(heads()))}
            in_line = {kind: _age(stored_at, now) for kind, stored_at in connection.execute(first_stored())}
            lag = _lag(in_line, subscriptions, deliveries, workers)
            for row in subscriptions:
                ages[row.queue] = max(ages[row.queue], in_line.get(row.event_type, 0.0))
            marked = marked_by_others(connection) if finished else MarkedByOthers()
            latest = find(connection, EventFilter(limit=newest)) if newest else []
        arrivals = {kind.event_type: kind.waiting for kind in types}
        names = sorted({row.handler for row in subscriptions} | {handler for handler, *_ in deliveries})
        return Overview(
            taken_at=now,
            finished=finished,
            event_types=types,
            handlers=[_handler(name, subscriptions, arrivals, switched, deliveries, errors, workers) for name in names],
            unhandled_types=_unhandled(types, subscriptions),
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
        oldest: dict[str, tuple[float, str, int]] = {}
        with look(self._engine) as connection:
            now = _now(connection)
            for handler, started_at, worker in connection.execute(query.order_by(_DELIVERY.started_at)):
                seconds, first, count = oldest.get(handler, (_age(started_at, now), worker or "?", 0))
                oldest[handler] = (seconds, first, count + 1)
        return [(handler, *numbers) for handler, numbers in sorted(oldest.items())]


Key = tuple[str, str]  # handler, event type


def _deliveries(connection: Connection, *, finished: bool) -> dict[tuple[str, str, str], int]:
    """Count deliveries by handler, event type and state."""
    query = select(_DELIVERY.handler, _TYPE, _DELIVERY.state, func.count()).group_by(
        _DELIVERY.handler, _TYPE, _DELIVERY.state
    )
    if finished:
        return {(row[0], row[1], row[2]): row[3] for row in connection.execute(query)}
    counts: dict[tuple[str, str, str], int] = {}
    for state in _UNFINISHED:  # a query for each state, each by its own index
        counts |= {(row[0], row[1], row[2]): row[3] for row in connection.execute(query.where(in_state(state)))}
    return counts


def _errors(connection: Connection) -> Counter[Key]:
    """Count failed attempts by handler and event type."""
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
    # Events that are not fanned out are counted by the time at which they occurred, for which there is an index: mostly
    # it is the time at which they were stored.
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
    arrivals: dict[str, int],
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
    switch = switched.get(name)
    paused = switch is not None and switch.paused
    # A backlog waits as events, of which deliveries are made when there is room for them.
    if to_come := sum(arrivals.get(row.event_type, 0) for row in theirs):
        states[State.PAUSED if paused else State.PENDING] += to_come
    rates: dict[str, float] = {}
    for worker in workers:
        for outcome, a_second in worker.activity.get(name, {}).items():
            rates[outcome] = rates.get(outcome, 0.0) + a_second
    pace = theirs[0].pace if theirs else None
    return HandlerMetrics(
        handler=name,
        queue=theirs[0].queue if theirs else "",
        event_types=sorted(row.event_type for row in theirs),
        paused=paused,
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
    """Return the event types that the handler is subscribed to, or that wait for it, and that no living worker has.

    While no worker lives, that proves nothing, and the list is empty.
    """
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


def _unhandled(types: list[EventMetrics], subscriptions: Any) -> list[str]:
    subscribed = {row.event_type for row in subscriptions}
    return [kind.event_type for kind in types if kind.waiting and kind.event_type not in subscribed]


def _unread(subscriptions: Any, workers: list[WorkerInfo]) -> list[str]:
    had = {row.queue for row in subscriptions if any(worker.has(row.handler, row.event_type) for worker in workers)}
    return sorted(had - {queue for worker in workers for queue in worker.queues})


def _lag(
    in_line: dict[str, float],
    subscriptions: Any,
    deliveries: dict[tuple[str, str, str], int],
    workers: list[WorkerInfo],
) -> float:
    """Return how long the first event in line waits, in seconds, for which a queue seems to have room.

    Events of queues with something sent, or whose workers all run something, wait for workers, and not for a relay.
    """
    busy: dict[str, Counter[str]] = {}
    for (handler, _, state), count in deliveries.items():
        for queue in {row.queue for row in subscriptions if row.handler == handler}:
            busy.setdefault(queue, Counter())[state] += count
    slots = Counter[str]()
    for worker in workers:
        slots.update(dict.fromkeys(worker.queues, worker.concurrency))
    full = {queue for queue, states in busy.items() if states[State.SENT] or states[State.RUNNING] >= slots[queue] > 0}
    return max((in_line.get(row.event_type, 0.0) for row in subscriptions if row.queue not in full), default=0.0)


def _now(connection: Connection) -> datetime:
    return connection.scalar(select(now_plus(connection))) or datetime.now(UTC)


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else round(max(0.0, (now - since).total_seconds()), 3)
