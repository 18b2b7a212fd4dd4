"""What a worker can't do without is done as soon as the database lets it: the worker waits while that is away."""

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
    """Waits out what keeps the database from answering. Meanwhile this worker takes nothing else, as it couldn't do it.

    Args:
        overtime: tells whether an exception is a handler's time limit: what comes after the handler has longer.
    """

    def __init__(
        self, inbox: Inbox, throttle: Throttle, overtime: Callable[[BaseException], bool] = lambda _: False
    ) -> None:
        self._inbox = inbox
        self._throttle = throttle
        self._overtime = overtime

    def wait_out(self, action: Callable[[], Answer], until: Callable[[], bool] = lambda: False) -> Answer:
        """Do this, again and again while the database is away; the answer of `action`.

        Raises:
            GaveUp: `until` came true before the database came back.
            Exception: what `action` raised, if the database was there.
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
    """Go on after the block if it ends by such an exception."""
    try:
        yield
    except Exception as error:
        if not wanted(error):
            raise
