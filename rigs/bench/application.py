"""The application of our side. Three handlers an event, all of which do the same; `plain` has them without us."""

import os
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from events import Delivery, DomainEvent, handles, on_migrate, seconds
from rigs.bench import records
from rigs.bench.models import Base, Effect, names
from rigs.bench.slow_http import ask


@on_migrate
def create_tables(connection: Connection) -> None:
    Base.metadata.create_all(connection)


class Placed(DomainEvent, abstract=True):
    """About 500 bytes of JSON."""

    number: int
    customer: str = "Duke Leto Atreides"
    lines: list[dict[str, str]] = [  # noqa: RUF012 - pydantic copies it
        {"article": f"spice, harvested by crawler {line}", "quantity": "12.5 kg", "price": "199.90"}
        for line in range(5)
    ]


class Silent(Placed):
    """Handlers that do nothing but say so."""


class OnSession(Placed):
    """Handlers that write a row through the ORM."""


class OnConnection(Placed):
    """Handlers that write a row through Core."""


class AsText(Placed):
    """Handlers that write a row through the driver, by SQL that is written out."""


class Batched(Placed):
    """Handlers that get many events at once, and write a row for each."""


class Bridged(Placed):
    """What a bridge forwards; nobody else handles it."""


class Awaiting(Placed):
    """One handler, which waits for a web server and writes a row then."""


class Timed(Placed):
    """One handler, which notes when it starts."""


EVENTS: dict[str, type[Placed]] = {
    kind.__name__: kind for kind in (Silent, OnSession, OnConnection, AsText, Batched, Bridged, Awaiting, Timed)
}


def data(kind: str) -> dict[str, Any]:
    """What plain Celery sends as arguments: the event's own fields, without the number."""
    return EVENTS[kind](number=0).model_dump(mode="json", exclude={"number", "event_id", "occurred_at", "metadata"})


def silent(event: Silent) -> None:
    records.note(event.number)


def on_session(event: OnSession, session: Session, delivery: Delivery) -> None:
    session.add(Effect(handler=delivery.handler, number=event.number))


def on_connection(event: OnConnection, connection: Connection, delivery: Delivery) -> None:
    connection.execute(insert(Effect), {"handler": delivery.handler, "number": event.number})


def as_text(event: AsText, connection: Connection, delivery: Delivery) -> None:
    sql = "INSERT INTO bench_effects (handler, number) VALUES (%s, %s)"
    connection.exec_driver_sql(sql, (delivery.handler, event.number))


def timed(event: Timed) -> None:
    records.note(event.number)


async def awaiting(event: Awaiting, session: AsyncSession, delivery: Delivery) -> None:
    records.note(event.number)
    await ask(int(os.environ["BENCH_HTTP_PORT"]))
    session.add(Effect(handler=delivery.handler, number=event.number))


def _batch(name: str) -> Callable[[list[Batched], Connection], None]:
    def batched(events: list[Batched], connection: Connection) -> None:
        connection.execute(insert(Effect), [{"handler": name, "number": event.number} for event in events])

    return batched


_CALLS: tuple[tuple[type[Placed], Callable[..., Any]], ...] = (
    (Silent, silent), (OnSession, on_session), (OnConnection, on_connection), (AsText, as_text), (Timed, timed),
    (Awaiting, awaiting),
)  # fmt: skip
for _event, _call in _CALLS:
    for _name in names(_event.__name__):
        handles(_event, name=_name)(_call)

for _name in names("Batched"):
    handles(Batched, name=_name, batch=100, linger=seconds(0.05))(_batch(_name))
