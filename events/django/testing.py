"""For tests of Django applications: events and handlers without a worker, in the transaction of a TestCase.

    from events.django.testing import published, run_pending

    class Orders(TestCase):
        def test_an_order_is_put_on_the_shelf(self):
            place_order(book="Dune")
            self.assertEqual([event.book for event in published(OrderPlaced)], ["Dune"])
            run_pending()
            self.assertEqual(Shelf.objects.count(), 1)

It works in TestCase and TransactionTestCase alike, on the test database, SQLite in memory too. TestCase's rollback
takes the events along, and `flush`, by which TransactionTestCase cleans up, deletes them.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, overload
from uuid import UUID

from sqlalchemy import select, update

from events.current_pipeline import get_pipeline, use_pipeline
from events.django.configuration import ledger_alias
from events.django.home import home_engine
from events.django.surroundings import DjangoTransactions
from events.event import DomainEvent, all_events
from events.handling import handler_named, load_handlers
from events.ledger import DeadLetter, Group, Outcome, Parked, Wakeup, decode
from events.pipeline import Pipeline, late_handlers
from events.relay import TransportFeatures
from events.settings import load_settings
from events.store import event_deliveries, event_store, open_ledger

Event = TypeVar("Event", bound=DomainEvent)


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt of a delivery that run_pending() made.

    Attributes:
        event_id: the event's id.
        handler: the handler's name.
        outcome: what became of it.
        error: the handler's error; None if it had none.
    """

    event_id: UUID
    handler: str
    outcome: Outcome
    error: BaseException | None


def run_pending(*, raises: bool = True) -> list[Attempt]:
    """Call the handlers of all published events, and of those that they publish, until nothing is due.

    Events are stored, read, retried and given up as in production, and each handler has a transaction of its own (a
    savepoint, in a TestCase), after which its on_commit() hooks run. Retries don't wait.

    Args:
        raises: raise the error of a handler that fails; else it is tried again, up to its last attempt.
    Returns:
        All attempts, in order.
    Raises:
        Exception: the error of a handler; or what load_handlers() says of handlers that can't be loaded.
    """
    settings = load_settings()
    load_handlers(settings.handlers)
    alias, kept = ledger_alias(), _Kept()
    engine = home_engine(alias, settings, threading.get_ident())
    surroundings = DjangoTransactions(alias, engine)
    pipeline = Pipeline(settings, kept, ledger=open_ledger(settings, engine), surroundings=surroundings)
    before = get_pipeline()
    use_pipeline(pipeline)  # what handlers publish, and read by get_engine()
    try:
        return _run(pipeline, kept, raises=raises)
    finally:
        use_pipeline(before)
        pipeline.close()


@overload
def published() -> list[DomainEvent]: ...
@overload
def published(kind: type[Event]) -> list[Event]: ...
def published(kind: type[Any] = DomainEvent) -> list[Any]:
    """The events that are stored, of this class or a subclass, in the order in which they were published. What this
    transaction doesn't see, as it was rolled back, is not there."""
    engine = get_pipeline().ledger.engine
    known = {event.event_name: event for event in all_events() if issubclass(event, kind)}
    with engine.connect() as connection:
        columns = event_store.c
        query = select(columns.id).where(columns.event_type.in_(list(known))).order_by(columns.timestamp, columns.id)
        ids = list(connection.scalars(query))
        envelopes = get_pipeline().ledger.events.stored(connection, ids)
    return [decode(envelopes[event_id]) for event_id in ids]


@contextmanager
def captured_events(*, execute: bool = False) -> Iterator[list[DomainEvent]]:
    """The events that the block publishes, in a list that is filled at its end, as `captureOnCommitCallbacks` does.

    `execute`: call run_pending() then.
    """
    before = {event.event_id for event in published()}
    found: list[DomainEvent] = []
    yield found
    found += [event for event in published() if event.event_id not in before]
    if execute:
        run_pending()


class _Kept:
    """A transport that keeps wake-ups until they are taken."""

    name = "inline"
    features = TransportFeatures(holds_itself=True)

    def __init__(self) -> None:
        self.sent: deque[Group] = deque()

    def send(self, groups: Sequence[Group]) -> None:
        self.sent.extend(groups)

    def send_dead(self, letters: Sequence[DeadLetter]) -> None:
        raise AssertionError(f"it copies no dead letters, and yet came {len(letters)} copies")

    def send_parked(self, message: Parked) -> None:
        raise AssertionError(f"there is no broker that message {message.id} could have come from")

    def waiting(self, queue: str) -> int:
        return sum(group[0].queue == queue for group in self.sent)

    def held(self) -> Sequence[Group]:
        return tuple(self.sent)

    def close(self) -> None:
        self.sent.clear()


def _run(pipeline: Pipeline, kept: _Kept, *, raises: bool) -> list[Attempt]:
    late_handlers()
    pipeline.subscribe()
    relay = pipeline.relay()
    deliverer = pipeline.deliverer("tests", stopping=lambda error: isinstance(error, KeyboardInterrupt))
    attempts: list[Attempt] = []
    while relay.step() or kept.sent:
        while kept.sent:
            group = kept.sent.popleft()
            together = [group] if handler_named(group[0].handler).batch else [(one,) for one in group]
            for wakeups in together:
                results = deliverer.deliver(wakeups[0].handler, {one.event_id: one.token for one in wakeups})
                for wakeup in wakeups:
                    result = results[wakeup.event_id]
                    failed = result.outcome in (Outcome.RETRY, Outcome.DEAD)
                    if failed and raises and result.error is not None:
                        raise result.error
                    attempts.append(Attempt(wakeup.event_id, wakeup.handler, result.outcome, result.error))
                    if result.outcome in (Outcome.RETRY, Outcome.HANDED_BACK):
                        _make_due(pipeline, wakeup)
    return attempts


def _make_due(pipeline: Pipeline, wakeup: Wakeup) -> None:
    delivery = event_deliveries.c
    with pipeline.ledger.events.begin() as connection:
        connection.execute(
            update(event_deliveries)
            .where(delivery.event_id == wakeup.event_id, delivery.handler == wakeup.handler)
            .where(delivery.state == "pending")
            .values(due_at=delivery.created_at)
        )
