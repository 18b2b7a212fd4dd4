"""What surrounds a handler that awaits: context variables, publish, the loop that it may block, its session."""

import asyncio
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from events import DomainEvent, Retry, get_engine, handles, publish, publish_async
from events.errors import PublishError
from events.hooks import Watcher
from events.testing import InlinePipeline
from support.awaited import Echoed, notes, row, told, written
from support.awaited_kinds import (
    RETRY,
    SUCCEEDED,
    Asked,
    OnConnection,
    OnNothing,
    OnSession,
    do_now,
    in_use,
    outcomes,
    sent,
)
from support.grouped import deliver
from support.waiting import eventually


@pytest.fixture(params=["psycopg", "asyncpg"])
def pipeline(url: str, request: pytest.FixtureRequest) -> Iterator[InlinePipeline]:
    with in_use(url, request.param) as pipeline:
        yield pipeline


name: ContextVar[str] = ContextVar("name", default="nobody")


class Naming(Watcher):
    """A watcher as tracing is one: what it sets around a handler is seen there, and nowhere else."""

    def around(self, claims: Any) -> Any:
        return self._named(str(claims[0].envelope.aggregate_id))

    def _named(self, place: str) -> Any:
        class Named:
            def __enter__(self) -> None:
                self.token = name.set(place)

            def __exit__(self, *_: object) -> None:
                name.reset(self.token)

        return Named()


@pytest.mark.parametrize("kind", [OnSession, OnNothing])
def test_each_handler_has_a_context_of_its_own(pipeline: InlinePipeline, kind: type[Asked]) -> None:
    seen: dict[str, list[str]] = {}
    outer: ContextVar[str] = ContextVar("outer")

    async def look(event: Asked, _: Any) -> None:
        seen[event.place] = [name.get(), outer.get()]
        name.set(f"{event.place}, changed")
        outer.set("changed")
        await asyncio.sleep(0.05)
        seen[event.place] += [name.get(), outer.get(), await asyncio.to_thread(name.get)]

    do_now["look"] = look
    pipeline.hooks.add(Naming())
    # Given values that the worker and a watcher have set around the handlers
    outer.set("of the worker")
    events = [kind(place=place, do="look") for place in "abc"]
    deliver(pipeline, sent(pipeline, *events))
    # Then each handler saw them and its own changes, and nobody else's
    changed = {place: f"{place}, changed" for place in "abc"}
    assert seen == {p: [p, "of the worker", changed[p], "changed", changed[p]] for p in "abc"}
    assert (name.get(), outer.get()) == ("nobody", "of the worker")


def test_publish_from_a_thread_that_a_handler_awaits_joins_its_transaction(pipeline: InlinePipeline) -> None:
    async def publish_there(event: Asked, _: Any) -> None:
        await asyncio.to_thread(publish, Echoed(of=f"{event.place} by thread"))
        if event.place == "fails":
            raise ValueError

    do_now["publish"] = publish_there
    for kind in (OnSession, OnNothing):
        events = [kind(place=f"{kind.__name__}", do="publish"), kind(place="fails", do="publish")]
        deliver(pipeline, sent(pipeline, *events))
    assert told() == ["OnNothing", "OnNothing by thread", "OnSession", "OnSession by thread"]


def test_publish_that_would_block_the_loop_names_the_cure(pipeline: InlinePipeline) -> None:
    async def block(event: Asked, session: Any) -> None:
        with pytest.raises(PublishError, match=r"use `await publish_async\(event\)`"):
            publish(Echoed(of="blocking"))
        # Code that SQLAlchemy runs for us may
        await session.run_sync(lambda sync: publish(Echoed(of="in run_sync")))
        await session.run_sync(lambda sync: publish(Echoed(of="in a session"), session=sync))

    do_now["block"] = block
    event = OnSession(place="it", do="block")
    deliver(pipeline, sent(pipeline, event))
    assert told() == ["in a session", "in run_sync", "it"]


def test_without_sql_publish_is_written_with_the_outcome(pipeline: InlinePipeline) -> None:
    taken = Echoed(of="taken")
    publish(taken)

    async def publish_more(event: Asked, _: Any) -> None:
        publish(Echoed(of=f"{event.place}, too"))
        if event.place == "repeats":
            publish(taken.model_copy(update={"of": "something else"}))

    do_now["publish"] = publish_more
    # Given a message in which one publishes an event whose id another event has
    events = [OnNothing(place="repeats", do="publish"), OnNothing(place="good", do="publish")]
    results = deliver(pipeline, sent(pipeline, *events))
    # Then it has failed, with nothing published; its neighbour has not
    assert outcomes(results, events) == [RETRY, SUCCEEDED]
    assert "EventIdTaken" in row(events[0]).error_type
    assert told() == ["good", "good, too", "taken"]


def test_publish_after_the_delivery_is_refused(pipeline: InlinePipeline) -> None:
    refused: list[BaseException] = []

    async def leave_a_task(event: Asked, on: Any) -> None:
        async def later() -> None:
            while row_states(event) != "succeeded":
                await asyncio.sleep(0.02)
            try:
                await publish_async(Echoed(of="late"))
            except BaseException as error:
                refused.append(error)

        tasks.append(asyncio.get_running_loop().create_task(later()))

    tasks: list[Any] = []
    do_now["leave"] = leave_a_task
    for kind in (OnSession, OnNothing):
        event = kind(place=kind.__name__, do="leave")
        deliver(pipeline, sent(pipeline, event))
    eventually(lambda: len(refused) == 2, "both are refused")
    assert all(isinstance(error, PublishError) and "went on after" in str(error) for error in refused)
    assert "late" not in told()


def row_states(event: DomainEvent) -> str:
    return str(row(event).state)


def test_a_handler_that_blocks_the_loop_is_named_once(
    pipeline: InlinePipeline, caplog: pytest.LogCaptureFixture
) -> None:
    async def block(event: Asked, _: Any) -> None:
        eventually(lambda: "has blocked its event loop" in caplog.text, "it is told of")

    do_now["block"] = block
    with caplog.at_level(logging.WARNING, "events.delivery"):
        events = [OnNothing(place=f"{number}", do="block") for number in range(2)]
        deliver(pipeline, sent(pipeline, *events))
    assert caplog.text.count("handler on_nothing has blocked its event loop for") == 1
    assert "in block" in caplog.text  # the stack


def test_what_a_handler_sets_reaches_nobody(pipeline: InlinePipeline) -> None:
    if get_engine().dialect.name == "sqlite":
        pytest.skip("SQLite has no settings of a session")
    seen: list[str] = []

    async def set_or_look(event: Asked, on: Any) -> None:
        if event.place.startswith("local"):
            await on.execute(text("SET LOCAL search_path = nowhere"))
        elif event.place.startswith("session"):
            await on.execute(text("SET search_path = nowhere"))
        elif event.place.startswith("call"):
            await on.execute(text("SELECT set_config('search_path', 'nowhere', false)"))
        else:
            seen.append((await on.execute(text("SHOW search_path"))).scalar())

    do_now["set"] = set_or_look
    for turn in range(3):  # connections are used again, and statements are prepared by then
        for place in ("local", "session", "call"):
            for kind in (OnSession, OnConnection):
                event = kind(place=f"{place} {turn} {kind.__name__}", do="set")
                results = deliver(pipeline, sent(pipeline, event))
                # Then its outcome is written all the same
                assert outcomes(results, [event]) == [SUCCEEDED]
        looks = [OnConnection(place=f"look {turn} {number}", do="set") for number in range(4)]
        deliver(pipeline, sent(pipeline, *looks))
    # And who comes next feels nothing of it
    assert set(seen) == {'"$user", public'}


def test_an_application_class_of_sessions_is_in_the_transaction(pipeline: InlinePipeline) -> None:
    hooked.clear()
    event = OfApplication(place="mine")
    publish(event)
    pipeline.run()
    assert (row(event).state, row(event).error) == ("succeeded", None)
    assert written() == ["mine"]
    assert hooked == ["before", "after"]


hooked: list[str] = []


class AppSession(AsyncSession):
    def __init__(self, **options: Any) -> None:
        super().__init__(expire_on_commit=False, **options)

    async def note(self, what: str) -> None:
        await self.execute(insert(notes).values(text=what))


class OfApplication(Asked):
    pass


@handles(OfApplication, retry=Retry(max_attempts=1))
async def of_application(event: OfApplication, session: AppSession) -> None:
    from sqlalchemy import event as listening

    @listening.listens_for(session.sync_session, "after_commit")
    def after(_: object) -> None:
        hooked.append("after" if row_states(event) == "succeeded" else "early")

    assert not session.sync_session.expire_on_commit
    async with session.begin_nested():
        await session.note(event.place)
    await session.commit()
    hooked.append("before")
