"""The application under test: one handler for each way in which a delivery can go.

What a handler does to the database is a row of `effects`, committed with its delivery. That it was started at all is a
line in the file $SHOP_STARTS, which no rollback takes back.
"""

import os
import time
from pathlib import Path

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, insert, text
from sqlalchemy.orm import Session

from events import Delivery, DomainEvent, Retry, RetryAfter, handles, on_migrate, publish, seconds

effects = Table(
    "effects",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("event_id", String(36)),
    Column("handler", String(100)),
    Column("note", String(200)),
)
QUICK = Retry(max_attempts=3, backoff=seconds(0.05), jitter=0)


@on_migrate
def create_tables(connection: Connection) -> None:
    effects.metadata.create_all(connection)


def started(delivery: Delivery) -> None:
    with Path(os.environ["SHOP_STARTS"]).open("a") as file:
        file.write(f"{delivery.event_id} {delivery.handler} {delivery.attempt} {os.getpid()}\n")


def _effect(connection: Connection, delivery: Delivery, note: str = "") -> None:
    connection.execute(insert(effects).values(event_id=str(delivery.event_id), handler=delivery.handler, note=note))


class OrderPlaced(DomainEvent, aggregate_id="order"):
    order: str
    amount: int = 1


class OrderConfirmed(DomainEvent, aggregate_id="order"):
    order: str


class Flaky(DomainEvent):
    works_on_attempt: int


class AlwaysFails(DomainEvent):
    text: str = "no"


class NeverRetried(DomainEvent):
    pass


class Held(DomainEvent):
    release: str


class Patient(DomainEvent):
    release: str


class Trio(DomainEvent):
    pass


class Fixable(DomainEvent):
    repaired: str


class AsyncWork(DomainEvent):
    pass


class Doomed(DomainEvent):
    signal: int = 9


class TooSlow(DomainEvent):
    pass


class SlowStatement(DomainEvent):
    pass


class Stubborn(DomainEvent):
    pass


class Deaf(DomainEvent):
    pass


class Raises(DomainEvent):
    """Raises what Celery, or the process, takes for an order."""

    what: str


@handles(OrderPlaced)
def book_order(event: OrderPlaced, session: Session, delivery: Delivery) -> None:
    started(delivery)
    session.execute(
        insert(effects).values(event_id=str(event.event_id), handler=delivery.handler, note=str(event.amount))
    )


@handles(OrderPlaced)
class ConfirmOrder:
    """Publishes in the middle of a delivery: the new event belongs to the delivery's own transaction."""

    def handle(self, event: OrderPlaced) -> None:
        publish(OrderConfirmed(order=event.order))


@handles(OrderConfirmed)
def archive_order(event: OrderConfirmed, connection: Connection, delivery: Delivery) -> None:
    _effect(connection, delivery, f"caused by {event.metadata.causation_id}")


@handles(Flaky, retry=QUICK)
def works_later(event: Flaky, connection: Connection, delivery: Delivery) -> None:
    started(delivery)
    _effect(connection, delivery)  # rolled back when the attempt fails
    if delivery.attempt < event.works_on_attempt:
        raise RetryAfter(0.05) if delivery.attempt == 1 else ConnectionError("not yet")


@handles(AlwaysFails, retry=QUICK)
def never_works(event: AlwaysFails, connection: Connection, delivery: Delivery) -> None:
    started(delivery)
    _effect(connection, delivery)
    raise ConnectionError(f"{event.text}, on attempt {delivery.attempt}")


@handles(NeverRetried, retry=Retry(max_attempts=3, backoff=seconds(0.05), never=(ValueError,)))
def refuses(event: NeverRetried, delivery: Delivery) -> None:
    started(delivery)
    raise ValueError("this will never do")


@handles(Held, retry=QUICK)
def held_open(event: Held, connection: Connection, delivery: Delivery) -> None:
    """Writes, then waits with its transaction open: where a kill -9 hits it. The second attempt doesn't wait."""
    _effect(connection, delivery)
    started(delivery)
    while delivery.attempt == 1 and not Path(event.release).exists():
        time.sleep(0.02)


@handles(Patient, retry=QUICK, group=False, time_limit=seconds(900))
def waits_then_writes(event: Patient, connection: Connection, delivery: Delivery) -> None:
    """Waits with no lock held, on every attempt, then writes."""
    started(delivery)
    while not Path(event.release).exists():
        time.sleep(0.02)
    _effect(connection, delivery)


@handles(Trio)
def trio_first(event: Trio, connection: Connection, delivery: Delivery) -> None:
    _effect(connection, delivery)


@handles(Trio, retry=QUICK)
def trio_fails(event: Trio, connection: Connection, delivery: Delivery) -> None:
    _effect(connection, delivery)
    raise RuntimeError("one of three")


@handles(Trio)
def trio_third(event: Trio, connection: Connection, delivery: Delivery) -> None:
    _effect(connection, delivery)


@handles(Fixable, retry=Retry(max_attempts=1))
def needs_repair(event: Fixable, connection: Connection, delivery: Delivery) -> None:
    if not Path(event.repaired).exists():
        raise FileNotFoundError(event.repaired)
    _effect(connection, delivery, f"attempt {delivery.attempt}")


@handles(AsyncWork)
async def works_async(event: AsyncWork, connection: Connection, delivery: Delivery) -> None:
    import asyncio

    await asyncio.sleep(0)
    _effect(connection, delivery, str(id(asyncio.get_running_loop())))


@handles(TooSlow, retry=Retry(max_attempts=1), time_limit=seconds(1))
def takes_too_long(event: TooSlow, connection: Connection, delivery: Delivery) -> None:
    _effect(connection, delivery)
    time.sleep(60)


@handles(SlowStatement, retry=Retry(max_attempts=1), time_limit=seconds(1))
def asks_for_too_much(event: SlowStatement, connection: Connection, delivery: Delivery) -> None:
    _effect(connection, delivery)
    connection.execute(text("SELECT pg_sleep(600)"))


@handles(Doomed, retry=QUICK)
def kills_its_process(event: Doomed, delivery: Delivery) -> None:
    started(delivery)
    os.kill(os.getpid(), event.signal)


@handles(Stubborn, retry=Retry(max_attempts=1), time_limit=seconds(1))
def ignores_its_limit(event: Stubborn, connection: Connection, delivery: Delivery) -> None:
    started(delivery)
    while True:
        try:
            time.sleep(60)
        except Exception as error:
            print("not me:", error)


@handles(Deaf, retry=QUICK)
def hears_no_signal(event: Deaf, delivery: Delivery) -> None:
    """Locks a mutex twice, in C, where signals end no wait."""
    import ctypes

    started(delivery)
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(mutex)


@handles(Raises, retry=QUICK)
def raises(event: Raises, connection: Connection, delivery: Delivery) -> None:
    from celery.exceptions import Ignore, Reject
    from celery.exceptions import Retry as CeleryRetry

    started(delivery)
    _effect(connection, delivery)
    raise {
        "MemoryError": MemoryError(), "SystemExit": SystemExit(1), "KeyboardInterrupt": KeyboardInterrupt(),
        "GeneratorExit": GeneratorExit(), "Reject": Reject("no", requeue=True), "Ignore": Ignore(),
        "Retry": CeleryRetry("later"),
    }[event.what]  # fmt: skip


class Tick(DomainEvent):
    """One of many, for a handler that is fast. `hold`: it waits for that file. `deadly`: it kills its process."""

    hold: str = ""
    deadly: bool = False


@handles(Tick, retry=QUICK)
def counts(event: Tick, connection: Connection, delivery: Delivery) -> None:
    _effect(connection, delivery)
    if event.deadly:
        started(delivery)
        os.kill(os.getpid(), 9)
    if event.hold:
        started(delivery)
        while not Path(event.hold).exists():
            time.sleep(0.02)
