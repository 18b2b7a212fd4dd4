"""Waits while the database is away, for statements that a worker can't do without."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from events.ledger import Inbox
from events.throttle import Backoff, Throttle

Answer = TypeVar("Answer")

_PAUSES = Backoff(first=0.1, longest=1.0)


class GaveUp(Exception):
    """The database is away, and there is no more time to wait for it."""


class Outages:
    """Tries a statement until the database answers. Meanwhile the worker takes no other delivery: it would fail, too.

    Args:
        inbox: tells whether an error means that the database is away.
        throttle: limits the warnings about it.
        overtime: tells whether an exception is a handler's time limit: statements after the handler may take longer.
    """

    def __init__(
        self, inbox: Inbox, throttle: Throttle, overtime: Callable[[BaseException], bool] = lambda _: False
    ) -> None:
        self._inbox = inbox
        self._throttle = throttle
        self._overtime = overtime

    def wait_out(self, action: Callable[[], Answer], until: Callable[[], bool] = lambda: False) -> Answer:
        """Call `action` again and again while the database is away. Returns the answer of `action`.

        Raises:
            GaveUp: `until` came true before the database was back.
            Exception: every error of `action` that has another cause.
        """
        failures = 0
        while True:
            try:
                return action()
            except Exception as error:
                if not (self._inbox.is_away(error) or self._inbox.is_contention(error) or self._overtime(error)):
                    raise
                if until():
                    raise GaveUp from error
                self._throttle.warn(f"waiting for the database: {error}")
            failures += 1
            with _suppressed_if(self._overtime):
                time.sleep(_PAUSES.after(failures))


@contextmanager
def _suppressed_if(wanted: Callable[[BaseException], bool]) -> Iterator[None]:
    """Go on after the block if it ends by a wanted exception."""
    try:
        yield
    except Exception as error:
        if not wanted(error):
            raise
