"""Handlers that await, of each kind, which do what a test says; and how to run a message of theirs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from events import Delivery, DomainEvent, Retry, handles, publish, publish_async, seconds
from events.ledger.outcome import Outcome, Result
from events.ledger.records import Group
from events.testing import InlinePipeline
from support.awaited import Echoed, awaiting, notes
from support.grouped import deliver, sent_together

SUCCEEDED, RETRY, DEAD, BACK = Outcome.SUCCEEDED, Outcome.RETRY, Outcome.DEAD, Outcome.HANDED_BACK
NOT_OURS = Outcome.NOT_OURS

Doing = Callable[["Asked", Any], Any]
do_now: dict[str, Doing] = {}  # what a handler does with its session, connection or nothing, by the event's word


class Asked(DomainEvent, aggregate_id="place", abstract=True):
    place: str
    do: str = ""


class OnSession(Asked):
    pass


class OnConnection(Asked):
    pass


class OnNothing(Asked):
    pass


class Late(Asked):
    """Its handler begins without SQL."""


class Limited(Asked):
    pass


class AwaitedInBatch(Asked):
    pass


@handles(OnSession, retry=Retry(max_attempts=2))
async def on_session(event: OnSession, session: AsyncSession) -> None:
    await do(event, session)


@handles(OnConnection, retry=Retry(max_attempts=2))
async def on_connection(event: OnConnection, connection: AsyncConnection) -> None:
    await do(event, connection)


@handles(OnNothing, retry=Retry(max_attempts=2))
async def on_nothing(event: OnNothing) -> None:
    await do(event, None)


@handles(Late, retry=Retry(max_attempts=1))
async def late(event: Late, session: AsyncSession) -> None:
    await do_now[event.do](event, session)


@handles(Limited, retry=Retry(max_attempts=1), time_limit=seconds(1))
async def limited(event: Limited, session: AsyncSession) -> None:
    if event.do:
        await do_now[event.do](event, session)
    await session.execute(insert(notes).values(text=event.place))


@handles(AwaitedInBatch, retry=Retry(max_attempts=2), batch=10)
async def in_batch(events: list[AwaitedInBatch], session: AsyncSession, deliveries: list[Delivery]) -> None:
    for event, _ in zip(events, deliveries, strict=True):
        await do(event, session)


HANDLER_OF = {
    OnSession: "on_session",
    OnConnection: "on_connection",
    OnNothing: "on_nothing",
    Late: "late",
    Limited: "limited",
    AwaitedInBatch: "in_batch",
}


async def do(event: Asked, on: Any) -> None:
    if on is not None:
        await on.execute(insert(notes).values(text=event.place))
    await publish_async(Echoed(of=event.place))
    if event.do:
        await do_now[event.do](event, on)


@contextmanager
def in_use(url: str, driver: str) -> Iterator[InlinePipeline]:
    """A pipeline on this empty database with few connections; skips the test if the database hasn't this driver."""
    if url.startswith("sqlite") and driver == "asyncpg":
        pytest.skip("SQLite has a driver of its own")
    with awaiting(url, driver, async_connections=4) as pipeline:
        yield pipeline
    do_now.clear()


def sent(pipeline: InlinePipeline, *events: Asked) -> Group:
    publish(events)
    return sent_together(pipeline, HANDLER_OF[type(events[0])])


def outcomes(results: dict[UUID, Result], events: list[Asked]) -> list[Outcome]:
    return [results[event.event_id].outcome for event in events]


def in_thread(pipeline: InlinePipeline, group: Group, **options: Any) -> tuple[threading.Thread, dict[UUID, Result]]:
    results: dict[UUID, Result] = {}
    thread = threading.Thread(target=lambda: results.update(deliver(pipeline, group, **options)), daemon=True)
    thread.start()
    return thread, results
