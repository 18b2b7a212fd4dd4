"""Finds handlers that block their event loop, so that no neighbour goes on, and names each once in the log."""

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from events.delivery.event_loop import Waiting

log = logging.getLogger("events.delivery")

_TOO_LONG = 1.0  # seconds in which a loop has to answer
_FRAMES = 8  # frames of a stack that are logged


class BlockedLoop:
    """Looks after the event loops of one process."""

    def __init__(self) -> None:
        self._told: set[str] = set()  # the handlers that were named

    def waiting(
        self,
        handler: str,
        goes_on: Callable[[BaseException], bool],
        stands_at: Callable[[], Awaitable[Any] | None],
    ) -> Waiting:
        """What the thread does that waits for deliveries of this handler. For the arguments see Waiting."""
        return _Looking(handler, goes_on, stands_at, self._told)


class _Looking(Waiting):
    look_every = 0.25

    def __init__(
        self,
        handler: str,
        goes_on: Callable[[BaseException], bool],
        stands_at: Callable[[], Awaitable[Any] | None],
        told: set[str],
    ) -> None:
        self._handler = handler
        self._goes_on = goes_on
        self._stands_at = stands_at
        self._told = told
        self._asked_at: float | None = None

    def goes_on(self, error: BaseException) -> bool:
        return self._goes_on(error)

    def stands_at(self, awaitable: Awaitable[Any]) -> Awaitable[Any]:
        return self._stands_at() or awaitable

    def look(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
        if self._handler in self._told or loop.is_closed():
            return
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            loop.call_soon_threadsafe(self._answer)
        elif time.monotonic() - self._asked_at >= _TOO_LONG:
            self._told.add(self._handler)
            frame = sys._current_frames().get(thread.ident or 0)
            stack = "".join(traceback.format_stack(frame)[-_FRAMES:]) if frame is not None else ""
            log.warning(
                "handler %s has blocked its event loop for %.1f s, so that no other delivery of this process goes on; "
                "await there, or call what blocks by asyncio.to_thread. It stands at:\n%s",
                self._handler,
                time.monotonic() - self._asked_at,
                stack,
                extra={"handler": self._handler},
            )

    def _answer(self) -> None:
        self._asked_at = None
