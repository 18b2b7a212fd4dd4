"""Runs async handlers: each thread that calls handlers has an event loop of its own, on a thread beside it.

A handler's connection is synchronous. While it waits for a lock, its loop stands still, and so do all other tasks of
the loop. If handlers shared a loop, two of them that want the same row would wait for each other for ever. A loop lives
as long as the thread that it belongs to, so that clients which are bound to the loop can be kept between deliveries,
and tasks that a handler leaves there go on.
"""

import asyncio
import logging
import os
import sys
import threading
import traceback
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, wait
from contextlib import suppress
from functools import partial
from typing import Any

log = logging.getLogger("events.delivery")

_CANCEL_GRACE = 5.0  # seconds that a cancelled coroutine has to clean up before its transaction is rolled back

_of_this_thread = threading.local()
# By the thread that waits for a handler: what it waits for, and the thread of the loop.
_at_work: dict[int, tuple[Callable[[], Awaitable[Any]], threading.Thread]] = {}


class Waiting:
    """What the thread that waits for the loop does meanwhile. Subclasses override the methods that they need."""

    look_every = 1.0  # seconds

    def look(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
        """Called now and then, with the loop and the thread on which it runs."""

    def goes_on(self, _: BaseException) -> bool:
        """Whether to wait on, although this error, such as a time limit, has interrupted it."""
        return False

    def stands_at(self, awaitable: Awaitable[Any]) -> Awaitable[Any]:
        """The coroutine whose stack is shown as that of this awaitable, which is waited for."""
        return awaitable


class _Loop:
    """An event loop that runs on a thread of its own, until the thread that it belongs to ends."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=_turn, args=(self.loop, self._ending), name="events-async", daemon=True)
        self._thread.start()
        weakref.finalize(self, _end, self.loop, self._ending, self.pid).atexit = False

    @property
    def is_usable(self) -> bool:
        """Whether the loop is open, and of this process: a fork inherits the loop, but not its thread."""
        return self.pid == os.getpid() and not self.loop.is_closed()

    def run(self, awaitable: Awaitable[Any], waiting: "Waiting | None" = None) -> Any:
        """Run this awaitable on the loop. Returns its value, and raises its error.

        Errors such as SystemExit are raised here, in the waiting thread: raised on the loop, they would end it.
        """
        waiting = waiting or Waiting()
        raised: list[BaseException] = []
        returned: list[Any] = []
        ended = threading.Event()

        async def guarded() -> None:
            try:
                returned.append(await awaitable)
            except BaseException as error:
                raised.append(error)
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(guarded(), self.loop)
        _at_work[threading.get_ident()] = (partial(waiting.stands_at, awaitable), self._thread)
        try:
            while not future.done():
                try:
                    wait([future], waiting.look_every)
                except BaseException as error:
                    if not waiting.goes_on(error):
                        raise
                if not self._thread.is_alive() and not future.done():
                    raise RuntimeError("the handler's event loop was closed while it ran")
                waiting.look(self.loop, self._thread)
            future.result()
        except CancelledError:  # a task that an earlier handler left cancelled all tasks before this one had begun
            raise raised[0] if raised else RuntimeError("the handler was cancelled before it began") from None
        except BaseException:  # a time limit interrupts the wait, not the coroutine
            future.cancel()
            if not ended.wait(_CANCEL_GRACE):
                log.warning("an async handler doesn't end when it is cancelled; its event loop is given up")
                self.give_up()
            raise
        finally:
            _at_work.pop(threading.get_ident(), None)
        if raised:
            raise raised[0]
        return returned[0] if returned else None

    def give_up(self) -> None:
        """Let the next handler have a new loop, as this one hangs."""
        _of_this_thread.loop = None


def run(awaitable: Awaitable[Any], waiting: "Waiting | None" = None) -> Any:
    """Run an awaitable on the loop of this thread, and wait for it. Returns its value, and raises its error."""
    loop: _Loop | None = getattr(_of_this_thread, "loop", None)
    if loop is None or not loop.is_usable:
        loop = _of_this_thread.loop = _Loop()
    return loop.run(awaitable, waiting)


def stack_of(thread: int) -> list[str]:
    """The stack of the async handler that this thread waits for, outermost first; empty if it waits for none."""
    stands_at, turns_on = _at_work.get(thread, (None, None))
    awaited = stands_at() if stands_at is not None else None
    now = sys._current_frames().get(turns_on.ident or 0) if turns_on is not None else None
    if getattr(awaited, "cr_running", False) and now is not None:
        return traceback.format_stack(now)
    frames = []
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        frames += traceback.format_stack(frame, limit=1)
        awaited = getattr(awaited, "cr_await", None)
    return frames


def _turn(loop: asyncio.AbstractEventLoop, ending: threading.Event) -> None:
    """Run the loop until `ending` is set. A handler that stops its loop doesn't end it, nor does a task that a handler
    left there and that raises SystemExit."""
    asyncio.set_event_loop(loop)
    while not ending.is_set() and not loop.is_closed():
        try:
            loop.run_forever()
        except BaseException as error:
            log.warning("a task that an async handler left running raised %r", error)
    _cancel_all(loop)
    loop.close()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what handlers left on the loop, and the engines of this loop, and wait for their ends."""
    if loop.is_closed() or not (left := asyncio.all_tasks(loop)):
        return
    for task in left:
        if not task.cancelling():  # another time would interrupt it while it cleans up
            task.cancel()
    with suppress(BaseException):
        loop.run_until_complete(asyncio.wait(left, timeout=_CANCEL_GRACE))
        loop.run_until_complete(asyncio.sleep(0))  # sockets are closed a moment later


def _end(loop: asyncio.AbstractEventLoop, ending: threading.Event, pid: int) -> None:
    """End a loop, as the thread that it belongs to has ended."""
    ending.set()
    if pid == os.getpid() and not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)
