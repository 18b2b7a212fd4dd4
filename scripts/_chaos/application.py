"""The application that the faults hit. Its handlers write into a table that the package knows nothing of.

CHAOS_STARTS is a file that gets a line for each start of a handler, which no rollback takes back. With
CHAOS_DUPLICATE=1 every wake-up is sent twice.
"""

import hashlib
import os
import time

from sqlalchemy import Column, Connection, Float, Integer, MetaData, String, Table, insert
from sqlalchemy.orm import Session

from events import Delivery, DomainEvent, Retry, handles, on_migrate, publish, seconds

metadata = MetaData()
effects = Table(
    "chaos_effects", metadata, Column("id", Integer, primary_key=True), Column("event_id", String(36), index=True),
    Column("handler", String(50)), Column("attempt", Integer), Column("cause", String(36)), Column("done_at", Float),
)  # fmt: skip
business = Table(
    "chaos_business", metadata, Column("event_id", String(36), primary_key=True), Column("kind", String(50))
)

# Which handlers must have written exactly one effect for an event of each kind that was committed.
EXPECTED = {
    "Ordered": ("book", "notify"),
    "Shaky": ("fails_now_and_then",),
    "Slow": ("takes_its_time",),
    "Chained": ("publishes",),
    "Hopeless": ("is_hopeless",),
}
HOPELESS = "is_hopeless"  # ends as a dead letter, always
FOLLOWS = "follows"  # one for each effect of `publishes`
PATIENT = Retry(max_attempts=50, backoff=seconds(0.2), max_backoff=seconds(2))  # kills are no handler's fault


@on_migrate
def create_tables(connection: Connection) -> None:
    metadata.create_all(connection)


class Ordered(DomainEvent):
    pass


class Shaky(DomainEvent):
    pass


class Slow(DomainEvent):
    pass


class Chained(DomainEvent):
    pass


class Followed(DomainEvent):
    cause: str


class Hopeless(DomainEvent):
    pass


KINDS: dict[str, type[DomainEvent]] = {kind.__name__: kind for kind in (Ordered, Shaky, Slow, Chained, Hopeless)}
WEIGHTS = {"Ordered": 50, "Shaky": 15, "Slow": 5, "Chained": 20, "Hopeless": 10}


def note_start(event_id: object, handler: str, attempt: int) -> None:
    descriptor = os.open(os.environ["CHAOS_STARTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{event_id} {handler} {attempt} {os.getpid()}\n".encode())
    finally:
        os.close(descriptor)


def effect(event_id: object, handler: str, attempt: int, cause: str | None = None) -> dict[str, object]:
    return {"event_id": str(event_id), "handler": handler, "attempt": attempt, "cause": cause, "done_at": time.time()}


def is_unlucky(event_id: object, attempt: int) -> bool:
    """Two of five times, and the same each time that it is asked."""
    return hashlib.sha256(f"{event_id} {attempt}".encode()).digest()[0] < 102


def slowness(event_id: object) -> float:
    return 0.2 + hashlib.sha256(str(event_id).encode()).digest()[0] / 200


def _begin(delivery: Delivery) -> dict[str, object]:
    note_start(delivery.event_id, delivery.handler, delivery.attempt)
    return effect(delivery.event_id, delivery.handler, delivery.attempt)


@handles(Ordered, retry=PATIENT)
def book(event: Ordered, connection: Connection, delivery: Delivery) -> None:
    connection.execute(insert(effects), _begin(delivery))


@handles(Ordered, retry=PATIENT)
def notify(event: Ordered, session: Session, delivery: Delivery) -> None:
    session.execute(insert(effects), _begin(delivery))


@handles(Shaky, retry=PATIENT)
def fails_now_and_then(event: Shaky, connection: Connection, delivery: Delivery) -> None:
    connection.execute(insert(effects), _begin(delivery))
    if is_unlucky(event.event_id, delivery.attempt):
        raise ConnectionError("out of luck")


@handles(Slow, retry=PATIENT)
def takes_its_time(event: Slow, connection: Connection, delivery: Delivery) -> None:
    row = _begin(delivery)
    time.sleep(slowness(event.event_id))
    connection.execute(insert(effects), row)


@handles(Chained, retry=PATIENT)
def publishes(event: Chained, connection: Connection, delivery: Delivery) -> None:
    connection.execute(insert(effects), _begin(delivery))
    publish(Followed(cause=str(event.event_id)))


@handles(Followed, retry=PATIENT)
def follows(event: Followed, connection: Connection, delivery: Delivery) -> None:
    connection.execute(insert(effects), _begin(delivery) | {"cause": event.cause})


@handles(Hopeless, retry=Retry(max_attempts=2, backoff=seconds(0.1)))
def is_hopeless(event: Hopeless, connection: Connection, delivery: Delivery) -> None:
    connection.execute(insert(effects), _begin(delivery))
    raise ValueError("never")


if os.environ.get("CHAOS_DUPLICATE") == "1":
    from events.transport.broker import BrokerTransport
    from events.transport.memory import MemoryTransport

    for _transport in (BrokerTransport, MemoryTransport):

        def _twice(self, wakeups, _send=_transport.send):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            _send(self, [*wakeups, *wakeups])

        _transport.send = _twice  # type: ignore[method-assign,assignment]
