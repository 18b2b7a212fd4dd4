"""To do what a worker can't do without, as soon as the database lets it."""

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


class Insisting:
    """Does things again and again while the database is away. Meanwhile this worker takes nothing else, as it couldn't
    do it.

    Args:
        overtime: tells whether an exception is a handler's time limit: what comes after the handler has longer.
    """

    def __init__(
        self, inbox: Inbox, throttle: Throttle, overtime: Callable[[BaseException], bool] = lambda _: False
    ) -> None:
        self._inbox = inbox
        self._throttle = throttle
        self._overtime = overtime

    def __call__(self, action: Callable[[], Answer], until: Callable[[], bool] = lambda: False) -> Answer:
        """The answer of the action.

        Raises:
            GaveUp: `until` came true before the database came back.
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
            with suppress_if(self._overtime):
                time.sleep(_PAUSES.after(failures))


@contextmanager
def suppress_if(wanted: Callable[[BaseException], bool]) -> Iterator[None]:
    """Go on after the block if it ends by such an exception."""
    try:
        yield
    except Exception as error:
        if not wanted(error):
            raise
