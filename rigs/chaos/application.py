"""The application that the faults hit, in two versions: CHAOS_VERSION=2 has one handler more.

With CHAOS_DUPLICATE=1 every wake-up is sent twice.
"""

import asyncio
import os
import time

from sqlalchemy import Connection, insert, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from events import Delivery, DomainEvent, Retry, handles, publish, seconds
from rigs.chaos.tables import counters, effect, effects, is_odd, is_unlucky, note_start, slowness

# Which handlers must have written exactly one effect for an event of each kind that was committed.
EXPECTED = {
    "Ordered": ("book", "notify"),
    "Shaky": ("fails_now_and_then",),
    "Slow": ("takes_its_time",),
    "Chained": ("publishes",),
    "Hopeless": ("is_hopeless",),
}
# These, too, but not of the control: they do what only users of the package do.
ALSO_EXPECTED = {
    "Ordered": ("audits",),
    "Bound": ("writes_by_the_bind",),
    "Tenanted": ("writes_as_its_tenant",),
    "Contended": ("waits_in_a_coroutine",),
    "ShelfChanged": ("puts_on_a_shelf",),
    "AwaitedInChaos": ("waits_with_a_session",),
    "Tasked": ("charges",),
}
HOPELESS = "is_hopeless"  # ends as a dead letter, always
FOLLOWS = "follows"  # one for each effect of `publishes`
TENANTED = "writes_as_its_tenant"  # its effect's cause is the tenant as the transaction knew it
SIGNS = {1: "signs_of_life_1", 2: "signs_of_life_2"}  # handlers, each in a queue that one worker alone takes from
PATIENT = Retry(max_attempts=50, backoff=seconds(0.2), max_backoff=seconds(2))  # kills are no handler's fault


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


class Bound(DomainEvent):
    pass


class Tenanted(DomainEvent):
    pass


class Contended(DomainEvent):
    pass


class AwaitedInChaos(DomainEvent):
    pass


class Tasked(DomainEvent):
    """Never published: only its id is used, by plain tasks."""


class ShelfChanged(DomainEvent):
    pass


class SignWanted(DomainEvent):
    pass


KINDS: dict[str, type[DomainEvent]] = {kind.__name__: kind for kind in (Ordered, Shaky, Slow, Chained, Hopeless)}
ALSO = {kind.__name__: kind for kind in (Bound, Tenanted, Contended, AwaitedInChaos)}
WEIGHTS = {"Ordered": 50, "Shaky": 15, "Slow": 5, "Chained": 20, "Hopeless": 10}
ALSO_WEIGHTS = {"Bound": 20, "Tenanted": 20, "Contended": 10, "AwaitedInChaos": 20}


def expected(kind: str, *, control: bool) -> tuple[str, ...]:
    return EXPECTED.get(kind, ()) + (() if control else ALSO_EXPECTED.get(kind, ()))


def _begin(delivery: Delivery) -> dict[str, object]:
    note_start(delivery.event_id, delivery.handler, delivery.attempt)
    return effect(delivery.event_id, delivery.handler, delivery.attempt)


@handles(Ordered, retry=PATIENT)
def book(event: Ordered, connection: Connection, delivery: Delivery) -> None:
    connection.execute(insert(effects), _begin(delivery))


@handles(Ordered, retry=PATIENT)
def notify(event: Ordered, session: Session, delivery: Delivery) -> None:
    session.execute(insert(effects), _begin(delivery))


if os.environ.get("CHAOS_VERSION") == "2":

    @handles(Ordered, retry=PATIENT)
    def audits(event: Ordered, connection: Connection, delivery: Delivery) -> None:
        connection.execute(insert(effects), _begin(delivery))


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


@handles(Bound, retry=PATIENT)
def writes_by_the_bind(event: Bound, session: Session, delivery: Delivery) -> None:
    """As pandas' to_sql does, and many a helper of Core."""
    bind = session.get_bind()
    assert isinstance(bind, Connection)
    bind.execute(insert(effects), _begin(delivery))
    if is_unlucky(event.event_id, delivery.attempt):
        raise ConnectionError("out of luck")


@handles(Tenanted, retry=PATIENT)
def writes_as_its_tenant(event: Tenanted, connection: Connection, delivery: Delivery) -> None:
    """Half of them say whose row it is as row-level security wants it; the others must not be taken for theirs."""
    row = _begin(delivery)
    if connection.dialect.name != "postgresql":
        connection.execute(insert(effects), row | {"cause": str(event.event_id) if is_odd(event.event_id) else None})
        return
    if is_odd(event.event_id):
        connection.execute(text(f"SET LOCAL chaos.tenant = '{event.event_id}'"))
    tenant = connection.scalar(text("SELECT current_setting('chaos.tenant', true)"))
    connection.execute(insert(effects), row | {"cause": tenant or None})


@handles(Contended, retry=PATIENT)
async def waits_in_a_coroutine(event: Contended, connection: Connection, delivery: Delivery) -> None:
    """Several at a time on a pool of threads, all for one row."""
    row = _begin(delivery)
    connection.execute(update(counters).values(count=counters.c.count + 1))
    await asyncio.sleep(0.02)
    connection.execute(insert(effects), row)


@handles(AwaitedInChaos, retry=PATIENT)
async def waits_with_a_session(event: AwaitedInChaos, session: AsyncSession, delivery: Delivery) -> None:
    """Many at a time on one event loop, each in a transaction of its own."""
    row = _begin(delivery)
    await asyncio.sleep(0.02)
    async with session.begin_nested():
        await session.execute(insert(effects), row)
    if is_unlucky(event.event_id, delivery.attempt):
        raise ConnectionError("out of luck")


@handles(ShelfChanged, retry=PATIENT)
def puts_on_a_shelf(event: ShelfChanged, session: Session, delivery: Delivery) -> None:
    session.execute(insert(effects), _begin(delivery))


if os.environ.get("CHAOS_CONTROL") != "1":
    from rigs.chaos import plain  # noqa: F401 - its tasks


for _number, _name in SIGNS.items():

    @handles(SignWanted, name=_name, queue=f"sign-{_number}", retry=PATIENT)
    def _sign(event: SignWanted, connection: Connection, delivery: Delivery) -> None:
        connection.execute(insert(effects), _begin(delivery))


if os.environ.get("CHAOS_DUPLICATE") == "1":
    from events.transport import BrokerTransport, MemoryTransport

    for _transport in (BrokerTransport, MemoryTransport):

        def _twice(self, wakeups, _send=_transport.send):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            _send(self, [*wakeups, *wakeups])

        _transport.send = _twice  # type: ignore[method-assign,assignment]
