"""Async handlers: a loop for each thread that calls them, which no handler can take away."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from unittest.mock import patch

import pytest

from events.delivery.calling import call
from events.delivery.event_loop import run
from events.errors import UnawaitedCoroutine
from support.waiting import eventually


async def loop_of() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def loop_here() -> asyncio.AbstractEventLoop:
    found: list[asyncio.AbstractEventLoop] = []

    async def look() -> None:
        found.append(await loop_of())

    run(look())
    return found[0]


def in_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "it hangs"


def test_threads_have_loops_of_their_own_and_keep_them() -> None:
    loops: dict[str, asyncio.AbstractEventLoop] = {}

    def work() -> None:
        loops["first"], loops["again"] = loop_here(), loop_here()

    in_thread(work)
    assert loops["first"] is loops["again"]
    assert loops["first"] is not loop_here()
    # And a loop ends with its thread
    eventually(loops["first"].is_closed, "it is closed")


async def stops_its_loop() -> None:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)


async def leaves_a_task_that_exits() -> None:
    async def later() -> None:
        raise SystemExit(3)

    task = asyncio.create_task(later())
    with pytest.raises(SystemExit):
        await task


async def leaves_a_callback_that_interrupts() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    asyncio.get_running_loop().call_soon(interrupt)
    await asyncio.sleep(0.01)


@pytest.mark.parametrize("handler", [stops_its_loop, leaves_a_task_that_exits, leaves_a_callback_that_interrupts])
def test_what_would_end_a_loop_does_not(handler: Callable[[], Awaitable[None]]) -> None:
    def work() -> None:
        before = loop_here()
        call(handler, {}, "it")
        assert loop_here() is before
        done.append(True)

    done: list[bool] = []
    in_thread(work)
    assert done


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(1)


async def runs_a_loop_within() -> None:
    work = asyncio.sleep(0)
    try:
        asyncio.run(work)
    finally:
        work.close()


async def closes_its_loop() -> None:
    asyncio.get_running_loop().close()


@pytest.mark.parametrize("handler", [cancels_itself, runs_a_loop_within, closes_its_loop])
def test_what_can_not_go_well_is_the_handlers_failure(handler: Callable[[], Awaitable[None]]) -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            call(handler, {}, "it")
        except BaseException as error:
            failed.append(error)
        loop_here()

    in_thread(work)
    assert isinstance(failed[0], asyncio.CancelledError | RuntimeError)


def test_a_handler_that_outlasts_its_cancellation_does_not_take_the_next_one_along() -> None:
    go_on, loops = threading.Event(), []

    async def hangs() -> None:
        loops.append(asyncio.get_running_loop())
        go_on.wait(60)

    def work() -> None:
        def limit(*_: object) -> None:
            eventually(lambda: loops, "it has begun")
            raise TimeoutError("over its time limit")

        with patch("events.delivery.event_loop._CANCEL_GRACE", 0.05):
            with patch("events.delivery.event_loop.wait", limit), pytest.raises(TimeoutError):
                run(hangs())
            loops.append(loop_here())

    in_thread(work)
    go_on.set()
    first, second = loops
    assert first is not second
    eventually(first.is_closed, "the other ends when it can")


def test_a_forked_child_has_a_loop_of_its_own() -> None:
    before = loop_here()
    read, write = os.pipe()
    if not (child := os.fork()):
        os.write(write, b"1" if loop_here() is not before else b"0")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1) == b"1"
    os.close(read)
    os.close(write)


def steps() -> Iterator[int]:
    yield 1


def begun() -> Iterator[int]:
    found = steps()
    next(found)
    return found


async def async_steps() -> AsyncIterator[int]:
    yield 1


def test_an_async_handler_that_returns_what_it_doesnt_await_is_told_so() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    async def returns_a_task() -> object:
        return asyncio.create_task(work())

    async def returns_a_coroutine() -> object:
        return work()

    with pytest.raises(UnawaitedCoroutine, match="'lazy' returned a Task, which nobody runs or awaits"):
        call(returns_a_task, {}, "lazy")
    with pytest.raises(UnawaitedCoroutine, match=r"called .*work\(\) without `await`"):
        call(returns_a_coroutine, {}, "lazy")


@pytest.mark.parametrize(
    "lazy", [steps, async_steps, contextmanager(steps), asynccontextmanager(async_steps), lambda: map(print, [1])]
)
def test_a_handler_that_returns_what_nobody_runs_is_told_so(lazy: Callable[[], object]) -> None:
    async def lazy_async() -> object:
        return lazy()

    for handler in (lambda: lazy(), lazy_async):
        with pytest.raises(UnawaitedCoroutine, match=r"'lazy' returned a \w+, which nobody runs or awaits"):
            call(handler, {}, "lazy")
    # And who has run it may return it
    call(lambda: list(steps()), {}, "eager")
    call(begun, {}, "begun")
