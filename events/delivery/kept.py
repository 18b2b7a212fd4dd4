"""The things that are made once a process: kept until it ends, and never shared with a process that was forked."""

import asyncio
import logging
import os
import threading
import time
import weakref
from asyncio import CancelledError
from collections.abc import Coroutine, Mapping
from contextvars import Context
from typing import Any

from events.delivery.making import Made, at_once, tell_unclosed
from events.handling import Provider

log = logging.getLogger("events.delivery")

_CLOSE_WITHIN = 5.0  # seconds
_LOOK = 0.05  # seconds between looks whether a loop has ended


class Kept:
    """The things of one process. Threads may share it."""

    def __init__(self) -> None:
        self._begin()
        self._inherited: list[object] = []  # a parent's: to drop the last reference would close them here, too

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._made: dict[Provider, tuple[Made, Context]] = {}
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopThings] = weakref.WeakKeyDictionary()

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            self._inherited.append((self._made, list(self._loops.items())))
            self._begin()

    def thing(self, provider: Provider, arguments: Mapping[str, Any]) -> Any:
        """The thing, which is made if it isn't there. Raises the factory's errors; the next call tries again."""
        self._check_process()
        with self._lock:
            if (found := self._made.get(provider)) is None:
                # Without the context of the delivery that happens to be the first.
                context = Context()
                made = Made(provider)
                context.run(at_once, made.open(arguments))
                found = self._made[provider] = made, context
            return found[0].thing

    async def of_loop(self, provider: Provider, arguments: Mapping[str, Any]) -> Any:
        """The same for a thing that belongs to the running event loop."""
        self._check_process()
        loop = asyncio.get_running_loop()
        with self._lock:
            if (things := self._loops.get(loop)) is None:
                things = self._loops[loop] = LoopThings()
        return await things.thing(provider, arguments)

    def close(self) -> None:
        """Close all, last made first: those of event loops, then the others, of which those may be made. Errors are
        logged. What is asked for later is made anew."""
        self._check_process()
        with self._lock:
            loops, self._loops = list(self._loops.items()), weakref.WeakKeyDictionary()
            made, self._made = list(self._made.values()), {}
        for loop, things in loops:
            things.close_from_outside(loop)
        for one, context in reversed(made):
            try:
                context.run(at_once, one.close(None))
            except Exception as error:
                tell_unclosed(one.provider, error)


class LoopThings:
    """The things of one event loop. A task of its own opens and closes each: who asked for it may be gone by then."""

    def __init__(self) -> None:
        self._all: dict[Provider, _Keeper] = {}
        self._latest: _Keeper | None = None
        self._done = threading.Event()
        self._closing: asyncio.Task[None] | None = None

    async def thing(self, provider: Provider, arguments: Mapping[str, Any]) -> Any:
        """The thing. Raises the factory's errors; the next call tries again."""
        keeper = self._all.get(provider)
        if keeper is None or keeper.has_ended:
            while self._latest is not None and self._latest.has_ended:
                self._latest = self._latest.before
            keeper = self._latest = self._all[provider] = _Keeper(provider, arguments, self._latest)
        return await keeper.wait()

    def close_from_outside(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close all, from another thread than the loop's."""
        closing, until = self._close(), time.monotonic() + _CLOSE_WITHIN
        try:
            loop.call_soon_threadsafe(lambda: self._begin_to_close(closing))
        except RuntimeError:  # the loop has ended, and closed all before
            closing.close()
            return
        while not (self._done.wait(_LOOK) or loop.is_closed()) and time.monotonic() < until:
            pass
        if self._closing is None:  # the loop ended meanwhile, and so closed all, or hangs
            closing.close()
        if not (self._done.is_set() or loop.is_closed()):
            left = ", ".join(str(one) for one, keeper in self._all.items() if not keeper.is_closed)
            log.warning("%s didn't close what was made within %g s", left or "an event loop", _CLOSE_WITHIN)

    def _begin_to_close(self, closing: Coroutine[Any, Any, None]) -> None:
        self._closing = asyncio.get_running_loop().create_task(closing)

    async def _close(self) -> None:
        try:
            if self._latest is not None:
                await self._latest.close()
        finally:
            self._done.set()


class _Keeper:
    """Keeps one thing open. It closes after those that were made later, also when the loop ends and cancels all."""

    def __init__(self, provider: Provider, arguments: Mapping[str, Any], before: "_Keeper | None") -> None:
        loop = asyncio.get_running_loop()
        self._made = Made(provider)
        self.before = before
        self._after: _Keeper | None = None
        if before is not None:
            before._after = self
        self._ready: asyncio.Future[Any] = loop.create_future()
        self._over = asyncio.Event()
        self._waiting = 0
        # Without the context of the delivery that happens to be the first.
        self._task = loop.create_task(self._keep(arguments), name=f"events {provider.name}", context=Context())

    @property
    def has_ended(self) -> bool:
        return self._task.done() or self._over.is_set()

    @property
    def is_closed(self) -> bool:
        return self._task.done()

    async def wait(self) -> Any:
        """The thing, once it is there."""
        self._waiting += 1
        try:
            return await asyncio.shield(self._ready)
        except CancelledError:
            if self._waiting == 1 and not self._ready.done():  # nobody else waits, and it may hang
                self._over.set()
                self._task.cancel()
            raise
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Close this one, and those before it."""
        keeper: _Keeper | None = self
        while keeper is not None:
            keeper._over.set()
            await asyncio.wait([keeper._task])
            keeper = keeper.before

    async def _keep(self, arguments: Mapping[str, Any]) -> None:
        try:
            thing = await self._made.open(arguments)
        except BaseException as error:
            self._fail(error)
            return
        self._ready.set_result(thing)
        try:
            await self._over.wait()
        except CancelledError:  # the loop ends
            self._over.set()
            if self._after is not None:
                await asyncio.wait([self._after._task])
        try:
            await self._made.close(None)
        except BaseException as error:
            tell_unclosed(self._made.provider, error)

    def _fail(self, error: BaseException) -> None:
        self._over.set()
        if self._ready.done():
            return
        if isinstance(error, CancelledError):
            self._ready.cancel()
        elif isinstance(error, Exception):
            self._ready.set_exception(error)
            self._ready.exception()  # whoever waited may be gone
        else:
            self._ready.set_exception(RuntimeError(f"{self._made.provider} raised {error!r}"))
            self._ready.exception()
