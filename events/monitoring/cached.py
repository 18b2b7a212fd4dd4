"""A value that is slow to get: shown as it was, with its age, while a thread gets it anew."""

import asyncio
import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from events.text import redact
from events.throttle import Throttle

T = TypeVar("T")
log = logging.getLogger("events.monitoring")

LEAST = 5.0  # seconds for which a value is good
SHARE = 20  # times what it took to get: so this is never more than a twentieth of the database's work
BEHIND = 30.0  # seconds after which what took no time to get is worth a wait
AGAIN = 1.0  # seconds until what failed is tried again
_GOODBYE = 2.0  # seconds that a value under way has when the process ends
FORGOTTEN = 300.0  # seconds: whoever collects metrics may do so but once in two minutes


_under_way: set[Future[None]] = set()
os.register_at_fork(after_in_child=_under_way.clear)


@atexit.register
def _let_end() -> None:
    """Python ends a thread that still runs, wherever it is: in the middle of C++ (greenlet is), the process aborts."""
    wait(tuple(_under_way), _GOODBYE)


@dataclass(frozen=True, slots=True)
class Look(Generic[T]):
    """What there is at the moment. No value: it has never been got. An error: the last try failed."""

    value: T | None = None
    age: float = 0.0
    error: Exception | None = None


class Cached(Generic[T]):
    """Gets a value when somebody looks and it is old, and never twice at a time.

    Args:
        is_cheap: by what it says itself, a value took long only because the machine is busy: it is got as often as any.
    """

    def __init__(
        self,
        get: Callable[[], T],
        clock: Callable[[], float] = time.monotonic,
        is_cheap: Callable[[T], bool] = lambda _: False,
    ) -> None:
        self._get = get
        self._is_cheap = is_cheap
        self._clock = clock
        self._throttle = Throttle(log)
        self._lock = threading.Lock()
        self._look: Look[T] = Look()
        self._begun = self._took = 0.0
        self._expired = True
        self._getting: Future[None] | None = None

    def expire(self) -> None:
        """Something was changed: what is there, or on its way, is no longer good."""
        with self._lock:
            self._expired = True

    def ask(self) -> "Future[None] | None":
        """Have it got, if it is old; what to wait for, or None if it is good as it is."""
        with self._lock:
            if self._getting is None and self._is_old():
                self._getting = Future()
                _under_way.add(self._getting)
                threading.Thread(target=self._refresh, args=(self._getting,), daemon=True).start()
            return self._getting

    def is_behind(self) -> bool:
        """Something was changed since, or nobody looked for a while: worth a little more patience."""
        with self._lock:
            return self._expired or self._clock() - self._begun > BEHIND

    def latest(self) -> T | None:
        """What there is, at once; None if it is unknown: at first, after a failure, or if nobody asked for long."""
        self.ask()
        seen = self._seen()
        return seen.value if seen.error is None and seen.age < FORGOTTEN else None

    async def look(self, patience: float) -> Look[T]:
        """The newest that is to be had within so many seconds."""
        getting = self.ask()
        if getting is not None and (self._look.value is None or self._took < patience):
            await asyncio.wait([asyncio.wrap_future(getting)], timeout=patience)
        return self._seen()

    def _seen(self) -> Look[T]:
        with self._lock:
            return Look(self._look.value, self._clock() - self._begun, self._look.error)

    def _is_old(self) -> bool:
        age = self._clock() - self._begun
        if self._look.error is not None:
            return age > AGAIN
        value = self._look.value
        share = 0 if value is not None and self._is_cheap(value) else SHARE
        return self._expired or age > max(LEAST, share * self._took)

    def _refresh(self, done: "Future[None]") -> None:
        while True:
            begun = self._clock()
            with self._lock:
                self._expired = False
            error: Exception | None = None
            value: T | None = None
            try:
                value = self._get()
            except Exception as caught:
                error = caught
                self._throttle.warn(f"can't read the ledger: {redact(str(caught))}")
            with self._lock:
                if error is None:
                    self._look, self._took = Look(value), self._clock() - begun
                else:
                    self._look = Look(self._look.value, error=error)
                self._begun = begun
                if self._expired and error is None:
                    continue  # it was changed in the meantime
                self._getting = None
            done.set_result(None)
            _under_way.discard(done)
            return
