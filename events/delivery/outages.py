"""What a worker can't do without is done as soon as the database lets it: the worker waits while that is away."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from events.ledger import Inbox
from events.throttle import Throttle

Answer = TypeVar("Answer")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0  # seconds between tries


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
        pause = _FIRST_PAUSE
        while True:
            try:
                return action()
            except Exception as error:
                if not (self._inbox.is_away(error) or self._inbox.is_contention(error) or self._overtime(error)):
                    raise
                if until():
                    raise GaveUp from error
                self._throttle.warn(f"waiting for the database: {error}")
            with _suppressed_if(self._overtime):
                time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


@contextmanager
def _suppressed_if(wanted: Callable[[BaseException], bool]) -> Iterator[None]:
    """Go on after the block if it ends by such an exception."""
    try:
        yield
    except Exception as error:
        if not wanted(error):
            raise
