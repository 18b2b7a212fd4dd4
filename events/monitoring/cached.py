"""A value that is slow to fetch: readers get the last value, with its age, while a thread fetches a new one."""

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
SHARE = 20  # a value is good for so many times as long as it took to fetch: at most a twentieth of the database's work
BEHIND = 30.0  # seconds after which a reader had better wait for a value that is quick to fetch
AGAIN = 1.0  # seconds until the next attempt after a failure
_GOODBYE = 2.0  # seconds that a fetch may still take when the process ends
FORGOTTEN = 300.0  # seconds after which `latest` forgets a value: a Prometheus may ask only once in two minutes

_under_way: set[Future[None]] = set()
os.register_at_fork(after_in_child=_under_way.clear)


@atexit.register
def _let_end() -> None:
    """At its end Python stops every thread anywhere; in the midst of C++ code, such as greenlet, the process aborts."""
    wait(tuple(_under_way), _GOODBYE)


@dataclass(frozen=True, slots=True)
class Look(Generic[T]):
    """The last value, its age in seconds, and the error if the last attempt failed. No value: none was fetched yet."""

    value: T | None = None
    age: float = 0.0
    error: Exception | None = None


class Cached(Generic[T]):
    """Fetches a value when a reader looks and the value is old; never twice at a time.

    Args:
        fetch: fetches the value; called in a thread.
        is_cheap: whether such a value is quick to fetch on an idle machine. Then it is fetched as often as any value,
            however long it took.
    """

    def __init__(
        self,
        fetch: Callable[[], T],
        clock: Callable[[], float] = time.monotonic,
        is_cheap: Callable[[T], bool] = lambda _: False,
    ) -> None:
        self._fetch = fetch
        self._is_cheap = is_cheap
        self._clock = clock
        self._throttle = Throttle(log)
        self._lock = threading.Lock()
        self._look: Look[T] = Look()
        self._begun = self._took = 0.0
        self._expired = True
        self._fetching: Future[None] | None = None

    def expire(self) -> None:
        """The source was changed: the last value, and a value that is being fetched, are no longer good."""
        with self._lock:
            self._expired = True

    def refresh(self) -> "Future[None] | None":
        """Begin to fetch the value if it is old. The future to wait for; None if the value is good."""
        with self._lock:
            if self._fetching is None and self._is_old():
                self._fetching = Future()
                _under_way.add(self._fetching)
                threading.Thread(target=self._run, args=(self._fetching,), daemon=True).start()
            return self._fetching

    def is_behind(self) -> bool:
        """Whether a reader should wait longer: the source was changed, or no reader looked for a while."""
        with self._lock:
            return self._expired or self._clock() - self._begun > BEHIND

    def latest(self) -> T | None:
        """The last value, at once. None at first, after a failure, and if no reader looked for long."""
        self.refresh()
        last = self._last()
        return last.value if last.error is None and last.age < FORGOTTEN else None

    async def look(self, patience: float) -> Look[T]:
        """The newest value that can be fetched within `patience` seconds."""
        fetching = self.refresh()
        if fetching is not None and (self._look.value is None or self._took < patience):
            await asyncio.wait([asyncio.wrap_future(fetching)], timeout=patience)
        return self._last()

    def _last(self) -> Look[T]:
        with self._lock:
            return Look(self._look.value, self._clock() - self._begun, self._look.error)

    def _is_old(self) -> bool:
        age = self._clock() - self._begun
        if self._look.error is not None:
            return age > AGAIN
        value = self._look.value
        share = 0 if value is not None and self._is_cheap(value) else SHARE
        return self._expired or age > max(LEAST, share * self._took)

    def _run(self, done: "Future[None]") -> None:
        while True:
            begun = self._clock()
            with self._lock:
                self._expired = False
            error: Exception | None = None
            value: T | None = None
            try:
                value = self._fetch()
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
                    continue  # the source was changed in the meantime
                self._fetching = None
            done.set_result(None)
            _under_way.discard(done)
            return
