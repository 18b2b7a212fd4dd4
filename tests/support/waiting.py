"""Wait for a fact. The only place in the tests that pauses."""

import threading
import time
from collections.abc import Callable
from typing import Any


def eventually(fact: Callable[[], Any], what: str, timeout: float = 60) -> Any:
    """Return the first true value of `fact`; fail, saying `what` didn't happen and how it stood, after `timeout` s."""
    deadline, pause, seen = time.monotonic() + timeout, threading.Event(), None
    while time.monotonic() < deadline:
        seen = fact()
        if seen:
            return seen
        pause.wait(0.02)
    raise AssertionError(f"after {timeout} s still not: {what}; last seen: {seen!r}")
