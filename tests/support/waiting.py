"""Wait for a fact. The only place in the tests that pauses."""

import threading
import time
from collections.abc import Callable
from typing import Any


def eventually(fact: Callable[[], Any], what: str, timeout: float = 120) -> Any:
    """Return the first true value of `fact`; fail, saying `what` didn't happen and how it stood, after `timeout` s.

    Asks ever less often, and spends a fifth of the time on asking at most: what is waited for needs the machine.
    """
    begun, pause, seen = time.monotonic(), threading.Event(), None
    while (asked := time.monotonic()) < begun + timeout:
        seen = fact()
        if seen:
            return seen
        now = time.monotonic()
        pause.wait(min(max(0.02, 4 * (now - asked), (now - begun) / 20), 0.5))
    raise AssertionError(f"after {timeout} s still not: {what}; last seen: {seen!r}")
