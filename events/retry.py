"""When to try again. A policy is a value and a decision; it never sleeps, raises or sends.

@handles(CardAdded, retry=Retry(max_attempts=8, backoff=seconds(1), max_backoff=minutes(10), never=(ValueError,)))
"""

import random
from dataclasses import dataclass
from datetime import timedelta

from events.errors import EventDataError, TransactionMisused, UnawaitedCoroutine

LONGEST = timedelta(days=3650)  # a delay; after the year 9999 PostgreSQL goes on, and Python doesn't
MOST_ATTEMPTS = 1_000_000_000  # what a column of the ledger holds
# Attempts that can only end the same way: wrong data stays wrong, and wrong code stays wrong until it is deployed.
HOPELESS: tuple[type[BaseException], ...] = (EventDataError, UnawaitedCoroutine, TransactionMisused)


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


def minutes(value: float) -> timedelta:
    return timedelta(minutes=value)


def hours(value: float) -> timedelta:
    return timedelta(hours=value)


class RetryAfter(Exception):
    """Raised by a handler: "not now; try me again in `delay`". Counts as an attempt like any other failure.

    `delay` is a timedelta or a number of seconds; it replaces the policy's backoff and is not capped by it.
    Raises ValueError for one that is negative, or over ten years.
    """

    def __init__(self, delay: timedelta | float, reason: str = "") -> None:
        seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
        if not 0 <= seconds <= LONGEST.total_seconds():
            raise ValueError(
                f"RetryAfter({delay!r}): a delay can't be negative, and is ten years at most; to give up, raise what "
                f"never=... names"
            )
        self.delay = delay if isinstance(delay, timedelta) else timedelta(seconds=delay)
        super().__init__(reason or f"retry after {self.delay}")


@dataclass(frozen=True, kw_only=True)
class Retry:
    """A handler's retry policy.

    The delay after attempt n is `backoff * factor**(n-1)`, at most `max_backoff`, then spread by `jitter`:
    0.2 means 20 % shorter or longer, so that deliveries that failed together don't come back together.

    Args:
        max_attempts: runs in all, the first included; 1 means no retry.
        never: exceptions (and their subclasses) that make a dead letter at once.
    Raises:
        ValueError: for a policy that makes no sense; names the argument.
    """

    max_attempts: int = 8
    backoff: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    max_backoff: timedelta = timedelta(minutes=10)
    jitter: float = 0.2
    never: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        never = (self.never,) if isinstance(self.never, type) else tuple(self.never)
        object.__setattr__(self, "never", never)
        if not isinstance(self.max_attempts, int) or isinstance(self.max_attempts, bool):
            raise ValueError(f"Retry(max_attempts={self.max_attempts!r}): a whole number")
        if self.max_attempts > MOST_ATTEMPTS:
            raise ValueError(f"Retry(max_attempts={self.max_attempts}): {MOST_ATTEMPTS:,} at most")
        for name in ("backoff", "max_backoff"):
            if not isinstance(getattr(self, name), timedelta):
                raise ValueError(f"Retry({name}={getattr(self, name)!r}): a timedelta, such as seconds(1)")
        if self.max_attempts < 1:
            raise ValueError(f"Retry(max_attempts={self.max_attempts}): at least 1, the first run counts")
        if self.backoff < timedelta(0) or self.max_backoff < timedelta(0):
            raise ValueError("Retry(backoff, max_backoff): a delay can't be negative")
        if max(self.backoff, self.max_backoff) > LONGEST:
            raise ValueError("Retry(backoff, max_backoff): a delay is ten years at most")
        if self.factor < 1:
            raise ValueError(f"Retry(factor={self.factor}): at least 1, or the delays would shrink")
        if not 0 <= self.jitter < 1:
            raise ValueError(f"Retry(jitter={self.jitter}): between 0 and 1")
        for exception in never:
            if not (isinstance(exception, type) and issubclass(exception, BaseException)):
                raise ValueError(f"Retry(never=...): {exception!r} is no exception class")

    def delay_after(self, error: BaseException, attempt: int) -> timedelta | None:
        """How long to wait before the next attempt, None when attempt number `attempt` (from 1) was the last."""
        if attempt >= self.max_attempts or isinstance(error, (*HOPELESS, *self.never)):
            return None
        if isinstance(error, RetryAfter):
            return error.delay
        return self.backoff_after(attempt)

    def backoff_after(self, attempt: int) -> timedelta:
        try:
            delay = min(self.backoff * self.factor ** (attempt - 1), self.max_backoff)
        except OverflowError:  # attempt 1,000 of an eager policy
            delay = self.max_backoff
        return delay * random.uniform(1 - self.jitter, 1 + self.jitter)
