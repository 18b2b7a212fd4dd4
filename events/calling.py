"""Runs a handler to its end: plain functions, `async def`, and those that forgot to await.

Async handlers run on one event loop that lives as long as the process, on a thread of its own: clients that are
bound to a loop can be kept between deliveries, on every worker pool.
"""

import asyncio
import inspect
import os
import threading
import warnings
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from events.errors import UnawaitedCoroutine

_CANCEL_GRACE = 5.0  # seconds that a cancelled coroutine has to clean up before its transaction is rolled back

_forgotten: ContextVar[list[str] | None] = ContextVar("events_forgotten_coroutines", default=None)
_loop_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_loop_pid = 0


def call(function: Callable[..., Any], arguments: dict[str, Any], name: str) -> None:
    """Call a handler; return when it is done, raise what it raised.

    Raises:
        UnawaitedCoroutine: it called an async function and dropped the coroutine, so that work was never done.
    """
    _watch_coroutines()
    forgotten: list[str] = []
    token = _forgotten.set(forgotten)
    try:
        result = function(**arguments)
        if inspect.isawaitable(result):
            _run(result)
        del result
    finally:
        _forgotten.reset(token)
    if forgotten:
        raise UnawaitedCoroutine(
            f"handler {name!r} called {', '.join(forgotten)} without `await`, so it never ran; "
            f"make the handler `async def` and await it"
        )


def _run(awaitable: Awaitable[Any]) -> None:
    """Run on the process's loop. SystemExit and the like are carried here: raised there, they would end the loop."""
    raised: list[BaseException] = []
    ended = threading.Event()

    async def guarded() -> None:
        try:
            await awaitable
        except BaseException as error:
            raised.append(error)
        finally:
            ended.set()

    future = asyncio.run_coroutine_threadsafe(guarded(), _event_loop())
    try:
        future.result()
    except BaseException:  # a time limit interrupts the wait, not the coroutine
        future.cancel()
        ended.wait(_CANCEL_GRACE)
        raise
    if raised:
        raise raised[0]


def _event_loop() -> asyncio.AbstractEventLoop:
    global _loop, _loop_pid
    with _loop_lock:
        if _loop is None or _loop.is_closed() or _loop_pid != os.getpid():  # a fork inherits the loop, not its thread
            _loop, _loop_pid = asyncio.new_event_loop(), os.getpid()
            threading.Thread(target=_loop.run_forever, name="events-async-handlers", daemon=True).start()
        return _loop


def _watch_coroutines() -> None:
    """Python reports a dropped coroutine by `warnings._warn_unawaited_coroutine`, and nothing else: listen there."""
    original = getattr(warnings, "_warn_unawaited_coroutine", None)
    if original is None or getattr(original, "is_ours", False):
        return

    def report(coroutine: Any) -> None:
        seen = _forgotten.get()
        if seen is None:
            original(coroutine)
        else:
            seen.append(f"{getattr(coroutine, '__qualname__', coroutine)}()")

    report.is_ours = True  # type: ignore[attr-defined]
    warnings._warn_unawaited_coroutine = report  # type: ignore[attr-defined]
