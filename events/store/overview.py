"""What stands in the ledger right now, in a few counts: the read model of `events status`."""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, func, select

from events.records import ALIVE, State
from events.store.parked import SqlParkingLot
from events.store.tables import event_deliveries, event_store, event_subscriptions, is_unprocessed
from events.store.workers import SqlWorkers


@dataclass(frozen=True)
class Overview:
    """Counts of the whole ledger.

    Attributes:
        events: stored in all.
        waiting_events: not yet fanned out, by event type; those nobody subscribed to wait here.
        unhandled_types: event types among them that no handler has ever subscribed to.
        deliveries: by handler, then by state.
        oldest_due_seconds: age of the oldest delivery that is due and not sent, None if none is.
        handlers: handler name to its queue and event types.
        parked: messages that can't be run, by reason.
        workers: those that live: name, pool, concurrency, queues, version.
    """

    events: int
    waiting_events: dict[str, int]
    unhandled_types: list[str]
    deliveries: dict[str, dict[str, int]]
    oldest_due_seconds: float | None
    handlers: dict[str, dict[str, Any]] = field(default_factory=dict)
    parked: dict[str, int] = field(default_factory=dict)
    workers: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def overview(engine: Engine) -> Overview:
    """Count; a few grouped queries."""
    event, delivery, subscription = event_store.c, event_deliveries.c, event_subscriptions.c
    with engine.connect() as connection:
        events = connection.scalar(select(func.count()).select_from(event_store)) or 0
        waiting = {
            row[0]: row[1]
            for row in connection.execute(
                select(event.event_type, func.count()).where(is_unprocessed).group_by(event.event_type)
            )
        }
        states: dict[str, dict[str, int]] = {}
        for handler, state, count in connection.execute(
            select(delivery.handler, delivery.state, func.count()).group_by(delivery.handler, delivery.state)
        ):
            states.setdefault(handler, {})[state] = count
        handlers: dict[str, dict[str, Any]] = {}
        for handler, queue, event_type in connection.execute(
            select(subscription.handler, subscription.queue, subscription.event_type).order_by(subscription.handler)
        ):
            handlers.setdefault(handler, {"queue": queue, "events": []})["events"].append(event_type)
        oldest = connection.scalar(select(func.min(delivery.due_at)).where(delivery.state == State.PENDING))
    subscribed = {event_type for known in handlers.values() for event_type in known["events"]}
    age = (datetime.now(UTC) - oldest).total_seconds() if oldest is not None else None
    return Overview(
        events=events,
        waiting_events=waiting,
        unhandled_types=sorted(set(waiting) - subscribed),
        deliveries=states,
        oldest_due_seconds=round(age, 3) if age is not None and age > 0 else None,
        handlers=handlers,
        parked=SqlParkingLot(engine).counts(),
        workers=[
            {
                "name": worker.name,
                "pool": worker.pool,
                "concurrency": worker.concurrency,
                "queues": worker.queues,
                "version": worker.version,
            }
            for worker in SqlWorkers(engine).alive(ALIVE)
        ],
    )
