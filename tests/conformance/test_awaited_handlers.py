"""`async def` handlers side by side: each has a transaction, a time limit and an outcome of its own."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, update

from events import get_engine, publish
from events.ledger.outcome import Outcome, Result
from events.ledger.records import Group
from events.settings.settings import Settings
from events.store.awaited import engines
from events.store.awaited.engines import make_async_engine
from events.store.tables import event_deliveries
from events.testing import InlinePipeline
from support.awaited import notes, row, told, written
from support.awaited_kinds import (
    BACK,
    DEAD,
    NOT_OURS,
    RETRY,
    SUCCEEDED,
    Asked,
    AwaitedInBatch,
    Late,
    Limited,
    OnConnection,
    OnNothing,
    OnSession,
    do_now,
    in_thread,
    in_use,
    outcomes,
    sent,
)
from support.grouped import deliver
from support.store import HOUR
from support.waiting import eventually


@pytest.fixture(params=["psycopg", "asyncpg"])
def pipeline(url: str, request: pytest.FixtureRequest) -> Iterator[InlinePipeline]:
    with in_use(url, request.param) as pipeline:
        yield pipeline


@pytest.mark.parametrize("kind", [OnSession, OnConnection, OnNothing])
def test_outcomes_do_not_wait_for_a_slow_neighbour(pipeline: InlinePipeline, kind: type[Asked]) -> None:
    go_on = threading.Event()

    async def wait(*_: object) -> None:
        await asyncio.to_thread(go_on.wait, 60)

    do_now["wait"] = wait
    # Given a message of several deliveries, of which one waits for something
    events = [kind(place="slow", do="wait"), *(kind(place=f"quick {number}") for number in range(5))]
    thread, results = in_thread(pipeline, sent(pipeline, *events))
    try:
        # Then the outcomes and effects of the others are committed while that one still runs
        if get_engine().dialect.name == "postgresql" or kind is OnNothing:  # SQLite has one writer
            eventually(lambda: [row(one).state for one in events[1:]] == ["succeeded"] * 5, "the others are done")
        eventually(lambda: row(events[0]).state == "running", "that one runs")
        assert told("slow") == []
    finally:
        go_on.set()
        thread.join(60)
    # And it is done, too, in the end
    assert outcomes(results, events) == [SUCCEEDED] * 6
    assert len(told()) == 6
    assert len(written()) == (0 if kind is OnNothing else 6)


@pytest.mark.parametrize("kind", [OnSession, OnConnection, OnNothing])
def test_one_that_fails_is_judged_at_once_and_alone(pipeline: InlinePipeline, kind: type[Asked]) -> None:
    async def fail(event: Asked, _: Any) -> None:
        raise ValueError(event.place)

    do_now["fail"] = fail
    # Given a message in which one fails
    events = [kind(place="good"), kind(place="bad", do="fail"), kind(place="good, too")]
    # When it is run
    results = deliver(pipeline, sent(pipeline, *events))
    # Then only that one has failed, by an attempt that counts, and nothing of it is left
    assert outcomes(results, events) == [SUCCEEDED, RETRY, SUCCEEDED]
    assert row(events[1]).attempts - row(events[1]).attempts_before == 1
    assert "bad" not in [*written(), *told()]


def test_connections_are_taken_late_and_are_few(pipeline: InlinePipeline) -> None:
    engines = pipeline.ledger.engines
    gate, before, during = threading.Event(), list[int](), list[int]()

    def taken() -> int:
        pool: Any = engines.here().sync_engine.pool
        return int(pool.checkedout())

    async def wait_and_write(event: Asked, session: Any) -> None:
        before.append(taken())
        while not gate.is_set():
            await asyncio.sleep(0.01)
        await session.execute(insert(notes).values(text=f"{event.place}, late"))
        during.append(taken())

    do_now["wait"] = wait_and_write
    # Given twenty handlers side by side that wait before they use their sessions
    events = [Late(place=f"{number}", do="wait") for number in range(20)]
    thread, results = in_thread(pipeline, sent(pipeline, *events))
    try:
        eventually(lambda: len(before) == 20, "all wait")
    finally:
        gate.set()
        thread.join(60)
    # Then none had a connection while it waited, and never more of them than the setting says
    assert set(before) == {0}
    assert outcomes(results, events) == [SUCCEEDED] * 20
    assert 1 <= max(during) <= 4


def test_who_finds_no_connection_is_told_of_the_setting_and_not_blamed(
    pipeline: InlinePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def make_impatient(settings: Settings) -> Any:
        engine = make_async_engine(settings)
        engine.sync_engine.pool._timeout = 0.05  # type: ignore[attr-defined]
        return engine

    monkeypatch.setattr(engines, "make_async_engine", make_impatient)

    async def hold(*_: object) -> None:
        while not released.is_set():
            await asyncio.sleep(0.01)

    do_now["hold"] = hold
    # Given as many handlers as there are connections that hold theirs for long, and one more
    events = [OnConnection(place=f"{number}", do="hold" if number < 4 else "") for number in range(5)]
    if get_engine().dialect.name == "sqlite":
        pytest.skip("one of them has the lock that the others wait for")
    thread, results = in_thread(pipeline, sent(pipeline, *events))
    try:
        eventually(lambda: row(events[4]).state == "pending", "that one has ended")
    finally:
        released.set()
        thread.join(60)
    # Then that one comes again, and its attempt doesn't count
    assert outcomes(results, events) == [SUCCEEDED] * 4 + [BACK]
    assert "raise EVENTS_ASYNC_CONNECTIONS" in str(results[events[4].event_id].error)


def test_a_handler_over_its_time_limit_is_cancelled_alone(pipeline: InlinePipeline) -> None:
    cleaned = []

    async def hang(event: Asked, _: Any) -> None:
        try:
            await asyncio.sleep(600)
        finally:
            cleaned.append(event.place)

    do_now["hang"] = hang
    # Given a message in which one never ends
    events: list[Asked] = [Limited(place="hangs", do="hang"), Limited(place="quick")]
    # When it is run, on a pool that has no limits
    results = deliver(pipeline, sent(pipeline, *events))
    # Then that one was cancelled where it stood, and has failed; the other one has not
    assert cleaned == ["hangs"]
    found = {event.place: results[event.event_id] for event in events}
    assert {place: result.outcome for place, result in found.items()} == {"hangs": DEAD, "quick": SUCCEEDED}
    assert "over its time limit of 1 s" in str(found["hangs"].error)
    (letter,) = pipeline.dead_letters.find()
    assert "asyncio.sleep(600)" in letter.traceback
    assert written() == ["quick"]


def test_the_end_of_the_process_cancels_what_has_no_more_time(pipeline: InlinePipeline) -> None:
    draining, began, cleaned = threading.Event(), list[str](), list[str]()

    async def hang(event: Asked, _: Any) -> None:
        began.append(event.place)
        try:
            await asyncio.sleep(600)
        finally:
            cleaned.append(event.place)

    do_now["hang"] = hang
    # Given handlers that run when the process is told to end
    events = [OnNothing(place=f"{number}", do="hang") for number in range(3)]
    group = sent(pipeline, *events)
    deliverer = pipeline.deliverer("w1", draining=draining.is_set)
    deliverer._side_by_side._leave_after = 0.1  # of EVENTS_SHUTDOWN_TIMEOUT
    results: dict[UUID, Result] = {}
    tokens = {one.event_id: one.token for one in group}
    thread = threading.Thread(target=lambda: results.update(deliverer.deliver("on_nothing", tokens)), daemon=True)
    thread.start()
    eventually(lambda: len(began) == 3, "they run")
    # When that time is nearly over
    draining.set()
    thread.join(60)
    # Then they were cancelled, and come again; the attempt doesn't count
    assert sorted(cleaned) == ["0", "1", "2"]
    assert outcomes(results, events) == [BACK] * 3
    assert [(row(one).state, row(one).attempts - row(one).attempts_before) for one in events] == [("pending", 0)] * 3


@pytest.mark.parametrize("kind", [OnSession, OnConnection, OnNothing])
def test_who_has_lost_its_lease_commits_nothing(pipeline: InlinePipeline, kind: type[Asked]) -> None:
    async def lose(event: Asked, on: Any) -> None:
        def hand_over() -> None:
            with get_engine().begin() as connection:
                mine = event_deliveries.c.event_id == event.event_id
                connection.execute(
                    update(event_deliveries).where(mine).values(attempts=event_deliveries.c.attempts + 1)
                )

        await asyncio.to_thread(hand_over)

    do_now["lose"] = lose
    if get_engine().dialect.name == "sqlite" and kind is not OnNothing:
        pytest.skip("nobody can take a delivery over while a handler has the lock to write")
    # Given a message in which another worker has one delivery by now
    events = [kind(place="lost", do="lose"), kind(place="kept")]
    results = deliver(pipeline, sent(pipeline, *events))
    # Then that one has left nothing, and the other one is done
    assert outcomes(results, events) == [NOT_OURS, SUCCEEDED]
    assert told() == ["kept"]
    assert "lost" not in written()


def each_by_itself(pipeline: InlinePipeline, events: list[Asked]) -> list[Group]:
    """Messages of one delivery each."""
    pipeline.subscribe()
    publish(events)
    pipeline.ledger.outbox.fan_out(1000)
    with pipeline.ledger.outbox.due(pipeline.settings.queue, 1000, None) as due:
        groups = [(one.wakeup,) for one in due.deliveries]
        due.mark(groups, HOUR)
    return groups


def test_a_slow_one_keeps_no_room_from_others_and_the_message_ends_in_time(pipeline: InlinePipeline) -> None:
    go_on = threading.Event()

    async def wait(*_: object) -> None:
        while not go_on.is_set():
            await asyncio.sleep(0.01)

    do_now["wait"] = wait
    # Given a process that awaits a slow one, of a message with nothing else
    slow = OnNothing(place="slow", do="wait")
    ((message,),) = each_by_itself(pipeline, [slow])
    thread, results = in_thread(pipeline, (message,), takes_along=True)
    try:
        # When others are sent in messages of their own, one after another, then it does them meanwhile
        for number in range(5):
            others = [OnNothing(place=f"{number}.{place}") for place in range(3)]
            each_by_itself(pipeline, list(others))
            eventually(lambda these=others: {row(one).state for one in these} == {"succeeded"}, "they are done")
    finally:
        go_on.set()
        thread.join(60)
    # And the outcome of the message is that of its own delivery
    assert {event_id: result.outcome for event_id, result in results.items()} == {slow.event_id: SUCCEEDED}
    assert len(told()) == 16


def test_each_message_takes_the_others_along_once(pipeline: InlinePipeline) -> None:
    # Given thirty messages of one delivery each
    events: list[Asked] = [OnConnection(place=f"{number}") for number in range(30)]
    groups = each_by_itself(pipeline, events)
    # When two processes run them, one after another as they come
    outcomes_of: list[Outcome] = []

    def work(part: list[Group], name: str) -> None:
        deliverer = pipeline.deliverer(name, takes_along=True)
        for (wakeup,) in part:
            found = deliverer.deliver(wakeup.handler, {wakeup.event_id: wakeup.token})
            outcomes_of.extend(result.outcome for result in found.values())

    threads = [threading.Thread(target=work, args=(groups[first::2], f"w{first}"), daemon=True) for first in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    # Then every effect is there once, and a message whose delivery was taken along brings nothing
    assert len(outcomes_of) == 30
    assert set(outcomes_of) <= {SUCCEEDED, NOT_OURS}
    assert {row(event).state for event in events} == {"succeeded"}
    assert sorted(written()) == sorted(told()) == sorted(event.place for event in events)


def test_a_batch_is_one_call_in_one_transaction(pipeline: InlinePipeline) -> None:
    async def fail(*_: object) -> None:
        raise ValueError

    do_now["fail"] = fail
    # Given a batch that goes well, and one in which one event makes it fail
    good = [AwaitedInBatch(place=f"good {number}") for number in range(3)]
    results = deliver(pipeline, sent(pipeline, *good))
    assert outcomes(results, good) == [SUCCEEDED] * 3
    bad = [AwaitedInBatch(place="bad", do="fail"), AwaitedInBatch(place="with it")]
    results = deliver(pipeline, sent(pipeline, *bad))
    # Then all of that one is undone, and comes again one by one
    assert outcomes(results, bad) == [BACK] * 2
    assert written() == told() == [f"good {number}" for number in range(3)]
    pipeline.run()
    assert [row(event).state for event in bad] == ["dead", "succeeded"]
    assert "with it" in written()
