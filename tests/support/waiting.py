"""Wait for a fact. The only place in the tests that pauses."""

import threading
import time
from collections.abc import Callable
from typing import Any


def eventually(fact: Callable[[], Any], what: str, timeout: float = 120) -> Any:
    """Return the first true value of `fact`; fail, saying `what` didn't happen and how it stood, after `timeout` s.

    Asks ever less often: what is waited for needs the machine.
    """
    begun, pause, seen = time.monotonic(), threading.Event(), None
    while (waited := time.monotonic() - begun) < timeout:
        seen = fact()
        if seen:
            return seen
        pause.wait(min(max(0.02, waited / 20), 0.5))
    raise AssertionError(f"after {timeout} s still not: {what}; last seen: {seen!r}")
