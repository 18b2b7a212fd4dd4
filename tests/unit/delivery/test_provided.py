"""What others provide, while handlers run: how often it is made, when it is closed, and what a failure of it means."""

import asyncio
import gc
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from sqlalchemy import Column, MetaData, String, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from events import Delivery, DomainEvent, Retry, RetryAfter, get_engine, handles, provides, publish
from events.delivery import kept
from events.handling import providing, registry
from events.ledger import Outcome
from events.testing import InlinePipeline
from support.forks import exit_code_of, fork
from support.waiting import eventually

TWICE = Retry(max_attempts=2)


class Given(DomainEvent):
    do: str = ""


class Follows(DomainEvent): ...


class Outer:
    def __init__(self, number: int = 0) -> None:
        self.number = number


class Inner(Outer): ...


told: list[Any] = []
current: ContextVar[str] = ContextVar("current", default="none")


@pytest.fixture(autouse=True)
def nobody_provides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has its own providers and handlers."""
    monkeypatch.setattr(providing, "_providers", {})
    monkeypatch.setattr(registry, "_handlers", {})
    told.clear()


def outcomes(pipeline: InlinePipeline, *events: DomainEvent) -> list[Outcome]:
    publish(list(events))
    return [result.outcome for _, result in pipeline.run()]


def plain_factories(once: Any) -> None:
    """Two, of which one needs the other."""

    @provides(once=once)
    def outer() -> Iterator[Outer]:
        told.append("outer opened")
        try:
            yield Outer(len(told))
        finally:
            told.append("outer closed")

    @provides(once=once)
    def inner(outer: Outer) -> Iterator[Inner]:
        told.append("inner opened")
        yield Inner(outer.number)
        told.append("inner closed")


def async_factories(once: Any) -> None:
    @provides(once=once)
    async def outer() -> AsyncIterator[Outer]:
        await asyncio.sleep(0)
        told.append("outer opened")
        try:
            yield Outer(len(told))
        finally:
            await asyncio.sleep(0)
            told.append("outer closed")

    @provides(once=once)
    async def inner(outer: Outer) -> AsyncIterator[Inner]:
        told.append("inner opened")
        yield Inner(outer.number)
        told.append("inner closed")


def plain_handler(**options: Any) -> None:
    @handles(Given, retry=TWICE, **options)
    def is_given(event: Given, inner: Inner, outer: Outer) -> None:
        told.append((type(inner).__name__, type(outer).__name__, event.do))
        if event.do == "fail":
            raise LookupError("no such shelf")


def async_handler(**options: Any) -> None:
    @handles(Given, retry=TWICE, **options)
    async def is_given(event: Given, inner: Inner, outer: Outer) -> None:
        await asyncio.sleep(0)
        told.append((type(inner).__name__, type(outer).__name__, event.do))
        if event.do == "fail":
            raise LookupError("no such shelf")


def async_handler_with_blocking_sql() -> None:
    @handles(Given, retry=TWICE)
    async def is_given(event: Given, inner: Inner, outer: Outer, session: Session) -> None:
        told.append((type(inner).__name__, type(outer).__name__, event.do))


def async_handler_with_sql() -> None:
    @handles(Given, retry=TWICE)
    async def is_given(event: Given, inner: Inner, outer: Outer, session: AsyncSession) -> None:
        await session.execute(select(1))
        told.append((type(inner).__name__, type(outer).__name__, event.do))


KINDS: list[tuple[Callable[[Any], None], Callable[[], None]]] = [
    (plain_factories, plain_handler), (plain_factories, async_handler), (async_factories, async_handler),
    (plain_factories, async_handler_with_blocking_sql), (async_factories, async_handler_with_blocking_sql),
    (plain_factories, async_handler_with_sql), (async_factories, async_handler_with_sql),
]  # fmt: skip
RUN = ["outer opened", "inner opened", ("Inner", "Outer", ""), "inner closed", "outer closed"]


@pytest.mark.parametrize(("factories", "handler"), KINDS)
def test_once_a_delivery(
    factories: Callable[[Any], None], handler: Callable[[], None], events_pipeline: InlinePipeline
) -> None:
    factories("delivery")
    handler()
    # When two deliveries run, one after the other
    assert outcomes(events_pipeline, Given()) == [Outcome.SUCCEEDED]
    assert outcomes(events_pipeline, Given()) == [Outcome.SUCCEEDED]
    # Then each has its own, made in order and closed in the reverse one
    assert told == RUN * 2


@pytest.mark.parametrize(("factories", "handler"), KINDS)
def test_once_a_process(
    factories: Callable[[Any], None], handler: Callable[[], None], events_pipeline: InlinePipeline
) -> None:
    factories("process")
    handler()
    # When several deliveries run, at once and later
    assert outcomes(events_pipeline, Given(), Given(), Given()) == [Outcome.SUCCEEDED] * 3
    assert outcomes(events_pipeline, Given()) == [Outcome.SUCCEEDED]
    # Then they share what was made once, which is open
    run = ("Inner", "Outer", "")
    assert told == ["outer opened", "inner opened", run, run, run, run]
    # And it is closed when the process ends, in the reverse order
    events_pipeline.provided.close()
    assert told[-2:] == ["inner closed", "outer closed"]
    # And is made anew if somebody asks after all
    assert outcomes(events_pipeline, Given()) == [Outcome.SUCCEEDED]
    assert told[-3:] == ["outer opened", "inner opened", run]


@pytest.mark.parametrize("handler", [plain_handler, async_handler])
def test_a_failing_handler_closes_what_it_was_given(
    handler: Callable[[], None], events_pipeline: InlinePipeline
) -> None:
    plain_factories("delivery")
    handler()
    assert outcomes(events_pipeline, Given(do="fail")) == [Outcome.RETRY, Outcome.DEAD]
    # The inner one, which isn't written with `finally`, is told of the error, and so ends there
    assert told == ["outer opened", "inner opened", ("Inner", "Outer", "fail"), "outer closed"] * 2


def test_in_a_group_each_delivery_has_its_own(events_pipeline: InlinePipeline) -> None:
    plain_factories("delivery")
    plain_handler()
    assert outcomes(events_pipeline, *(Given() for _ in range(5))) == [Outcome.SUCCEEDED] * 5
    assert told == RUN * 5


def test_a_batch_has_one_for_all(events_pipeline: InlinePipeline) -> None:
    plain_factories("delivery")

    @handles(Given, batch=10)
    def are_given(events: list[Given], inner: Inner) -> None:
        told.append(len(events))

    outcomes(events_pipeline, *(Given() for _ in range(5)))
    assert told == ["outer opened", "inner opened", 5, "inner closed", "outer closed"]


# The delivery's own transaction.


notes = Table("notes", MetaData(), Column("note", String))


@pytest.fixture
def table(events_pipeline: InlinePipeline) -> None:
    notes.create(get_engine())


def rows() -> list[str]:
    with get_engine().connect() as connection:
        return list(connection.scalars(select(notes.c.note)))


@pytest.mark.parametrize("do", ["", "fail"])
def test_a_factory_writes_in_the_deliverys_transaction_also_when_it_closes(
    do: str, events_pipeline: InlinePipeline, table: None
) -> None:
    # Given a factory that writes before and after the handler, and publishes
    @provides
    def writes(session: Session, delivery: Delivery) -> Iterator[Outer]:
        session.execute(insert(notes).values(note=f"before {delivery.handler}"))
        yield Outer()
        session.execute(insert(notes).values(note="after"))
        publish(Follows())

    @handles(Given, retry=Retry(max_attempts=1))
    def is_given(event: Given, outer: Outer) -> None:
        if event.do:
            raise LookupError("no such shelf")

    @handles(Follows)
    def follows(event: Follows) -> None:
        told.append("followed")

    # When the handler goes well, or fails
    outcomes(events_pipeline, Given(do=do))
    # Then all of it is there, or nothing
    assert rows() == ([] if do else ["before is_given", "after"])
    assert told == ([] if do else ["followed"])


def test_an_async_factory_writes_there_too(events_pipeline: InlinePipeline, table: None) -> None:
    @provides
    async def writes(session: AsyncSession) -> AsyncIterator[Outer]:
        await session.execute(insert(notes).values(note="before"))
        yield Outer()
        await session.execute(insert(notes).values(note="after"))

    @handles(Given, retry=TWICE)
    async def is_given(event: Given, outer: Outer, session: AsyncSession) -> None:
        told.append(list(await session.scalars(select(notes.c.note))))

    assert outcomes(events_pipeline, Given()) == [Outcome.SUCCEEDED]
    assert (told, rows()) == ([["before"]], ["before", "after"])


# What fails.


def failing(where: str, error: Exception) -> None:
    @provides
    def fails() -> Iterator[Outer]:
        if where == "opening":
            raise error
        yield Outer()
        if where == "closing":
            raise error

    @provides
    def beside(outer: Outer) -> Iterator[Inner]:
        told.append("opened")
        try:
            yield Inner()
        finally:
            told.append("closed")


@pytest.mark.parametrize("handler", [plain_handler, async_handler])
@pytest.mark.parametrize("where", ["opening", "closing"])
def test_a_factory_that_fails_is_a_failure_of_the_handler(
    where: str, handler: Callable[[], None], events_pipeline: InlinePipeline
) -> None:
    failing(where, LookupError("no such server"))
    handler()
    publish(Given())
    results = [result for _, result in events_pipeline.run()]
    assert [result.outcome for result in results] == [Outcome.RETRY, Outcome.DEAD]
    assert str(results[-1].error) == "no such server"
    # And the dead letter's traceback says who it was, and at what
    (letter,) = events_pipeline.dead_letters.find()
    what = "made what the handler asks for" if where == "opening" else "closed what it had made"
    assert f"(raised while provider 'fails' ({__file__}:" in letter.traceback
    assert what in letter.traceback
    # And all that was open is closed
    assert told.count("opened") == told.count("closed") == (2 if where == "closing" else 0)


def test_a_factory_may_ask_for_another_time(events_pipeline: InlinePipeline) -> None:
    failing("opening", RetryAfter(5, "the server is busy"))
    plain_handler()
    publish(Given())
    first = events_pipeline.run()[0][1]
    assert (first.outcome, first.due_in and first.due_in.total_seconds()) == (Outcome.RETRY, 5)


def test_the_error_of_the_handler_counts_and_that_of_closing_is_logged(
    events_pipeline: InlinePipeline, caplog: pytest.LogCaptureFixture
) -> None:
    @provides
    def fails() -> Iterator[Outer]:
        try:
            yield Outer()
        finally:
            raise ValueError("it can't be closed")

    @provides
    def swallows() -> Iterator[Inner]:
        try:
            yield Inner()
        except LookupError:
            told.append("swallowed")

    plain_handler()
    publish(Given(do="fail"))
    with caplog.at_level(logging.WARNING, logger="events.delivery"):
        results = [result for _, result in events_pipeline.run()]
    # Then the handler's error is the outcome, although a factory swallows it
    assert [str(result.error) for result in results] == ["no such shelf"] * 2
    assert "swallowed" in told
    # And one line says what failed besides
    lines = [record.getMessage() for record in caplog.records if "failed to close" in record.getMessage()]
    assert len(lines) == 2
    assert lines[0].startswith(f"provider 'fails' ({__file__}:")
    assert lines[0].endswith("failed to close what it had made: ValueError: it can't be closed")


@pytest.mark.parametrize(("factories", "handler"), [(plain_factories, plain_handler), (async_factories, async_handler)])
def test_what_failed_to_be_made_once_a_process_is_tried_again(
    factories: Callable[[Any], None], handler: Callable[[], None], events_pipeline: InlinePipeline
) -> None:
    tries = iter([True, False])

    if handler is plain_handler:

        @provides(once="process")
        def outer() -> Outer:
            if next(tries):
                raise LookupError("no such server")
            return Outer()
    else:

        @provides(once="process")
        async def outer() -> Outer:
            if next(tries):
                raise LookupError("no such server")
            return Outer()

    @provides(once="process")
    def inner(outer: Outer) -> Inner:
        return Inner()

    handler()
    assert outcomes(events_pipeline, Given()) == [Outcome.RETRY, Outcome.SUCCEEDED]


def test_what_cant_be_closed_at_the_end_is_logged_and_the_others_are_closed(
    events_pipeline: InlinePipeline, caplog: pytest.LogCaptureFixture
) -> None:
    @provides(once="process")
    def outer() -> Iterator[Outer]:
        yield Outer()
        told.append("outer closed")

    @provides(once="process")
    async def inner(outer: Outer) -> AsyncIterator[Inner]:
        yield Inner()
        raise ValueError("it can't be closed")

    async_handler()
    outcomes(events_pipeline, Given())
    with caplog.at_level(logging.WARNING, logger="events.delivery"):
        events_pipeline.provided.close()
    assert "provider 'inner'" in caplog.text
    assert "ValueError: it can't be closed" in caplog.text
    assert told[-1] == "outer closed"


def test_one_that_hangs_while_it_is_closed_is_named_and_left(
    events_pipeline: InlinePipeline, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_CLOSE_WITHIN", 0.2)
    go_on: list[asyncio.Event] = []

    @provides(once="process")
    async def outer() -> AsyncIterator[Outer]:
        go_on.append(asyncio.Event())
        yield Outer()
        await go_on[0].wait()

    @provides(once="process")
    def inner(outer: Outer) -> Inner:
        return Inner()

    async_handler()
    outcomes(events_pipeline, Given())
    with caplog.at_level(logging.WARNING, logger="events.delivery"):
        events_pipeline.provided.close()
    assert "provider 'outer'" in caplog.text
    assert "didn't close what was made within 0.2 s" in caplog.text


def test_when_its_event_loop_ends_it_is_closed_and_nobody_waits_for_that_later(
    events_pipeline: InlinePipeline, recwarn: pytest.WarningsRecorder
) -> None:
    async_factories("process")
    async_handler()
    # Given a thread whose event loop ends with it
    thread = threading.Thread(target=lambda: outcomes(events_pipeline, Given()))
    thread.start()
    thread.join()
    eventually(lambda: told[-2:] == ["inner closed", "outer closed"], "all is closed, in the reverse order")
    # When the process ends, then there is nothing to do
    events_pipeline.provided.close()
    gc.collect()
    assert told == ["outer opened", "inner opened", ("Inner", "Outer", ""), "inner closed", "outer closed"]
    assert [str(one.message) for one in recwarn] == []


# Where it is made.


@pytest.mark.parametrize("once", ["delivery", "process"])
def test_what_lives_long_has_not_the_context_of_the_first_delivery(once: Any, events_pipeline: InlinePipeline) -> None:
    @provides(once=once)
    async def outer() -> Outer:
        told.append(current.get())
        return Outer()

    @provides(once=once)
    def inner() -> Inner:
        told.append(current.get())
        return Inner()

    async_handler()
    token = current.set("mine")
    try:
        outcomes(events_pipeline, Given())
    finally:
        current.reset(token)
    expected = "mine" if once == "delivery" else "none"
    assert told[:2] == [expected] * 2


def test_side_by_side_they_share_what_one_of_them_makes(events_pipeline: InlinePipeline) -> None:
    # Given a client that takes a while to be made
    @provides(once="process")
    async def client() -> Outer:
        told.append("made")
        await asyncio.sleep(0.05)
        return Outer(id(asyncio.get_running_loop()))

    @handles(Given)
    async def is_given(event: Given, client: Outer) -> None:
        told.append(client.number == id(asyncio.get_running_loop()))

    assert outcomes(events_pipeline, *(Given() for _ in range(10))) == [Outcome.SUCCEEDED] * 10
    assert told == ["made"] + [True] * 10


def test_one_that_gives_up_waiting_spoils_nothing_for_the_others(events_pipeline: InlinePipeline) -> None:
    """It hangs while it is made: whoever waits for it is over its time, and the next one has it made anew."""
    hangs = iter([True, False])

    @provides(once="process")
    async def client() -> Outer:
        told.append("begun")
        if next(hangs):
            await asyncio.sleep(600)
        return Outer()

    @handles(Given, retry=TWICE, time_limit=1)
    async def is_given(event: Given, client: Outer) -> None:
        told.append("given")

    assert outcomes(events_pipeline, Given()) == [Outcome.RETRY, Outcome.SUCCEEDED]
    assert told == ["begun", "begun", "given"]


def test_a_forked_process_makes_its_own(events_pipeline: InlinePipeline) -> None:
    @provides(once="process")
    def outer() -> Iterator[Outer]:
        yield Outer(os.getpid())
        told.append("closed")

    @handles(Given)
    def is_given(event: Given, outer: Outer) -> None: ...

    outcomes(events_pipeline, Given())
    things = events_pipeline.provided._kept
    (provider,) = providing.providers().values()

    def child() -> None:
        mine: Outer = things.thing(provider, {})
        things.close()
        assert (mine.number, told) == (os.getpid(), ["closed"])

    # When a child asks for it, and closes its own
    assert exit_code_of(fork(child)) == 0
    # Then the parent's is as it was
    assert (things.thing(provider, {}).number, told) == (os.getpid(), [])


def test_a_test_gives_its_own(events_pipeline: InlinePipeline) -> None:
    plain_factories("process")
    plain_handler()
    mine = Inner(42)
    with events_pipeline.instead_of(Inner, mine):
        outcomes(events_pipeline, Given())
    assert told == ["outer opened", ("Inner", "Outer", "")]


def test_a_test_gives_what_nobody_provides(events_pipeline: InlinePipeline) -> None:
    @handles(Given)
    def is_given(event: Given, outer: Outer) -> None:
        told.append(outer.number)

    with events_pipeline.instead_of(Outer, Outer(42)):
        outcomes(events_pipeline, Given())
    assert told == [42]
