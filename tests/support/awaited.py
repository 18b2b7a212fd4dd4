"""Handlers that do as their events say, each both as a plain and as an `async def` handler, and pipelines for them."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Connection, MetaData, String, Table, insert, make_url, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from events import DomainEvent, Retry, get_engine, handles, publish, publish_async
from events.current_pipeline import use_pipeline
from events.settings.settings import Settings
from events.store.tables import event_deliveries, event_store
from events.testing import InlinePipeline, migrated_file

tables = MetaData()
notes = Table("awaited_notes", tables, Column("text", String(100), unique=True))
ONCE = Retry(max_attempts=1)

Step = Any  # a word, or a word and more: see `do`


class Program(DomainEvent, abstract=True):
    """What a handler is to do. `place` begins all that it writes."""

    place: str
    steps: list[Any]


class Echoed(DomainEvent, aggregate_id="of"):
    """Published by the handlers, and handled by none."""

    of: str


class PlainSession(Program):
    pass


class AwaitedSession(Program):
    pass


class PlainConnection(Program):
    pass


class AwaitedConnection(Program):
    pass


@handles(PlainSession, retry=ONCE, group=False)
def plain_session(event: PlainSession, session: Session) -> None:
    _drive(do(event, _Plain(session)))


@handles(AwaitedSession, retry=ONCE)
async def awaited_session(event: AwaitedSession, session: AsyncSession) -> None:
    await do(event, session)


@handles(PlainConnection, retry=ONCE, group=False)
def plain_connection(event: PlainConnection, connection: Connection) -> None:
    _drive(do(event, _Plain(connection)))


@handles(AwaitedConnection, retry=ONCE)
async def awaited_connection(event: AwaitedConnection, connection: AsyncConnection) -> None:
    await do(event, connection)


class Wanted(Exception):
    """The error that a program wants."""


async def do(event: Program, on: Any) -> None:
    """Do the steps of this event with a session or connection, or with a plain one in the dress of asyncio."""
    await _do(event, on, event.steps, "")


async def _do(event: Program, on: Any, steps: Sequence[Step], path: str) -> None:
    for number, step in enumerate(steps):
        word, *more = step if isinstance(step, list | tuple) else [step]
        mark = f"{event.place}{path}.{number}"
        match word:
            case "write":
                await on.execute(insert(notes).values(text=mark))
            case "read":
                await on.execute(select(notes.c.text).limit(1))
            case "publish":
                await _publish(Echoed(of=mark), on)
            case "publish in it":
                await _publish(Echoed(of=mark), on, session=True)
            case "fail in sql":
                await on.execute(text("SELECT nonsense"))
            case "fail":
                raise Wanted(mark)
            case "commit" | "rollback" | "close" | "flush" if hasattr(on, word):
                await getattr(on, word)()
            case "pause":
                await on.pause() if isinstance(on, _Plain) else await asyncio.sleep(0)
            case "end in sql":
                await on.execute(text("ROLLBACK"))
            case "savepoint":
                async with on.begin_nested():
                    await _do(event, on, more[0], f"{path}.{number}")
            case "hide":
                try:
                    await _do(event, on, more[0], f"{path}.{number}")
                except Exception:
                    continue


async def _publish(event: DomainEvent, on: Any, *, session: bool = False) -> None:
    if isinstance(on, _Plain):
        publish(event, **{"session": on.below} if session else {})
    else:
        await publish_async(event, **{"session": on} if session else {})


class _Plain:
    """A Session or Connection whose methods are awaited, and never wait."""

    def __init__(self, below: Any) -> None:
        self.below = below

    async def pause(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.below, name)

        async def call(*arguments: Any) -> Any:
            return method(*arguments)

        return (lambda: _Block(method)) if name == "begin_nested" else call


class _Block:
    def __init__(self, begin: Any) -> None:
        self._begin = begin

    async def __aenter__(self) -> None:
        self._block = self._begin()
        self._block.__enter__()

    async def __aexit__(self, *error: Any) -> Any:
        return self._block.__exit__(*error)


def _drive(work: Coroutine[Any, Any, None]) -> None:
    with pytest.raises(StopIteration):
        work.send(None)


def written(place: str = "") -> list[str]:
    with get_engine().connect() as connection:
        found = sorted(connection.scalars(select(notes.c.text)))
    return [one.removeprefix(place) for one in found if one.startswith(place)]


def told(place: str = "") -> list[str]:
    with get_engine().connect() as connection:
        query = select(event_store.c.aggregate_id).where(event_store.c.event_type == "Echoed")
        found = sorted(connection.scalars(query))
    return [one.removeprefix(place) for one in found if one.startswith(place)]


def row(event: DomainEvent) -> Any:
    with get_engine().connect() as connection:
        query = select(event_deliveries).where(event_deliveries.c.event_id == event.event_id)
        return connection.execute(query).one()


@contextmanager
def awaiting(url: str, driver: str, **settings: Any) -> Iterator[InlinePipeline]:
    """A pipeline on this empty database, which publish() and the like use until the block ends."""
    if (file := make_url(url).database) and url.startswith("sqlite"):
        Path(file).write_bytes(migrated_file())
    pipeline = InlinePipeline(Settings(database_url=url, broker_url="", async_driver=driver, **settings))
    pipeline.migrate()
    use_pipeline(pipeline)
    try:
        tables.create_all(get_engine())
        yield pipeline
    finally:
        use_pipeline(None)
        pipeline.close()
