"""Handlers of every kind that do as their events say, and the words to run several of their deliveries as one group."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import UUID

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, make_url, select, update
from sqlalchemy.orm import Session

from events import Delivery, DomainEvent, Retry, get_engine, handles, publish
from events.current_pipeline import use_pipeline
from events.handling.registry import handler_named
from events.ledger.outcome import Outcome, Result
from events.ledger.records import Group
from events.settings.settings import Settings
from events.store.tables import event_deliveries, event_store
from events.testing import InlinePipeline, migrated_file
from support.store import HOUR

tables = MetaData()
notes = Table("notes", tables, Column("text", String(100)))
TWICE = Retry(max_attempts=2)

do_now: dict[str, Callable[[], None]] = {}  # what a handler does when its event says the key


class Item(DomainEvent, aggregate_id="place", abstract=True):
    """A group runs in the order of aggregates, so `place` says where in its group an event stands."""

    place: str
    do: str = ""


class ForConnection(Item):
    pass


class ForSession(Item):
    pass


class ForBoth(Item):
    pass


class ForNeither(Item):
    pass


class Noticed(DomainEvent):
    """Published by each of the handlers below, and handled by none."""

    of: str


@handles(ForConnection, retry=TWICE)
def by_connection(event: Item, connection: Connection, delivery: Delivery) -> None:
    connection.execute(insert(notes).values(text=event.place))
    _go_on(event, connection=connection)


@handles(ForSession, retry=TWICE)
def by_session(event: Item, session: Session) -> None:
    session.execute(insert(notes).values(text=event.place))
    _go_on(event, session=session)


@handles(ForBoth, retry=TWICE)
def by_both(event: Item, session: Session, connection: Connection) -> None:
    connection.execute(insert(notes).values(text=event.place))
    session.execute(insert(notes).values(text=f"{event.place}, too"))
    _go_on(event, session=session)


@handles(ForNeither, retry=TWICE)
def by_neither(event: Item) -> None:
    _go_on(event)


HANDLER_OF: dict[type[Item], str] = {
    ForConnection: "by_connection",
    ForSession: "by_session",
    ForBoth: "by_both",
    ForNeither: "by_neither",
}


def _go_on(event: Item, session: Session | None = None, connection: Connection | None = None) -> None:
    publish(Noticed(of=event.place))
    if session is not None:
        connection = session.connection()
    match event.do:
        case "fail":
            raise ValueError(f"nothing for {event.place}")
        case "commit the session and fail":
            assert session is not None
            session.commit()
            raise ValueError("after its commit")
        case "fail in SQL":
            assert connection is not None
            connection.exec_driver_sql("SELECT nonsense")
        case "fail in an open savepoint":
            assert connection is not None
            connection.begin_nested()
            connection.execute(insert(notes).values(text="in the savepoint"))
            raise ValueError("the savepoint stays open")
        case "hide an error in SQL":
            assert connection is not None
            try:
                connection.exec_driver_sql("SELECT nonsense")
            except Exception:
                return
        case "commit":
            assert connection is not None
            connection.commit()
        case "roll back":
            assert connection is not None
            connection.rollback()
        case "roll back in SQL":
            assert connection is not None
            connection.exec_driver_sql("ROLLBACK")
        case word if word in do_now:
            do_now[word]()


def sent_together(pipeline: InlinePipeline, handler: str) -> Group:
    """What the handler has waiting, sent in one message."""
    pipeline.subscribe()
    outbox = pipeline.ledger.outbox
    outbox.fan_out(1000)
    queue = pipeline.settings.queue
    its = [(handler, event.event_name) for event in handler_named(handler).events]
    with outbox.due(queue, 1000, its) as due:
        group = tuple(one.wakeup for one in due.deliveries)
        due.mark([group], HOUR)
    return group


def deliver(pipeline: InlinePipeline, group: Group, **options: Any) -> dict[UUID, Result]:
    """Run a message as a worker does."""
    return pipeline.deliverer("w1", **options).deliver(group[0].handler, {one.event_id: one.token for one in group})


def run_together(pipeline: InlinePipeline, *events: Item, **options: Any) -> list[Outcome]:
    """Publish events of one class, and run them in one group; what became of each."""
    publish(events)
    results = deliver(pipeline, sent_together(pipeline, HANDLER_OF[type(events[0])]), **options)
    return [results[event.event_id].outcome for event in events]


def run_the_rest(pipeline: InlinePipeline) -> dict[UUID, list[Outcome]]:
    """Let every retry be due, and run what is due until nothing is; the outcomes of each event's delivery."""
    with get_engine().begin() as connection:
        pending = event_deliveries.c.state == "pending"
        connection.execute(update(event_deliveries).where(pending).values(due_at=event_deliveries.c.created_at))
    outcomes: dict[UUID, list[Outcome]] = {}
    for wakeup, result in pipeline.run():
        outcomes.setdefault(wakeup.event_id, []).append(result.outcome)
    return outcomes


def row(event: DomainEvent) -> Any:
    with get_engine().connect() as connection:
        query = select(event_deliveries).where(event_deliveries.c.event_id == event.event_id)
        return connection.execute(query).one()


def counted(event: DomainEvent) -> int:
    """The attempts that count."""
    return int(row(event).attempts - row(event).attempts_before)


def written() -> list[str]:
    with get_engine().connect() as connection:
        return sorted(connection.scalars(select(notes.c.text)))


def noticed() -> int:
    """How many events the handlers published."""
    with get_engine().connect() as connection:
        return len(connection.execute(select(event_store.c.id).where(event_store.c.event_type == "Noticed")).all())


def items(kind: type[Item], count: int, do: str = "", place: int = 0) -> list[Item]:
    return [kind(place=f"{index:03}", do=do if index == place else "") for index in range(count)]


def places(events: Sequence[Item]) -> list[str]:
    return [event.place for event in events]


@contextmanager
def in_use(url: str) -> Iterator[InlinePipeline]:
    """A pipeline on this empty database, which publish() and the like use until the block ends.

    A group takes all the time that it needs: how slow the machine is has a test of its own, in
    tests/unit/delivery/test_group.py.
    """
    if (file := make_url(url).database) and url.startswith("sqlite"):
        Path(file).write_bytes(migrated_file())
    pipeline = InlinePipeline(Settings(database_url=url, broker_url=""))
    pipeline.migrate()
    use_pipeline(pipeline)
    try:
        tables.create_all(get_engine())
        with patch("events.delivery.group._PATIENCE", 1_000):
            yield pipeline
    finally:
        do_now.clear()
        use_pipeline(None)
        pipeline.close()


def three(kind: type[Item], do: str, place: int = 1) -> list[Item]:
    """Three events, of which the one at that place does something."""
    return [kind(place="abc"[index], do=do if index == place else "") for index in range(3)]


def effects_of(kind: type[Item], places: str) -> list[str]:
    """What the handlers of these events have written."""
    if kind is ForNeither:
        return []
    return sorted(text for place in places for text in ((place, f"{place}, too") if kind is ForBoth else (place,)))
