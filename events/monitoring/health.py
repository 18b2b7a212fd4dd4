"""Is this process alive, and is it ready? Fly, Kubernetes, or an operator with curl ask so."""

import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from events.errors import EventsError
from events.text import brief
from events.watchdog import Signs, silences

_PATIENCE = 2.0  # seconds that a client waits for an answer
_TRUSTED = 1.0  # seconds for which an answer is good

Verdict = tuple[int, dict[str, Any]]  # HTTP status, and the body, as JSON
Condition = Callable[[], str]  # says what is wrong, in a few words; "" if all is well


class Health:
    """Judges by the same signs as the watchdog, with half its patience, so that it complains before the watchdog acts.

    Args:
        conditions: must all hold for the process to be ready; by name.
        stopping: whether the process was told to end. Then it is not ready, and its signs don't count: the event loop
            and the relay stand still while handlers finish.
    """

    def __init__(
        self, signs: Signs, watchdog: timedelta, conditions: Mapping[str, Condition], stopping: Callable[[], bool]
    ) -> None:
        self._signs = signs
        self._limit = watchdog.total_seconds() / 2
        self._conditions = conditions
        self._stopping = stopping

    def alive(self) -> Verdict:
        """200 while all signs beat; else 503, with the silent signs, and for how many seconds each is silent."""
        if self._stopping():
            return 200, {"status": "ok", "stopping": True}
        silent = {name: round(seconds, 1) for name, seconds in silences(self._signs).items() if seconds > self._limit}
        return (503, {"status": "hangs", "silent_for_seconds": silent}) if silent else (200, {"status": "ok"})

    def ready(self) -> Verdict:
        """200 if the process can work; else 503, with the reasons."""
        if self._stopping():
            return 503, {"status": "not ready", "reasons": {"process": "the process is stopping"}}
        reasons = {name: reason for name, condition in self._conditions.items() if (reason := condition())}
        return (503, {"status": "not ready", "reasons": reasons}) if reasons else (200, {"status": "ready"})


class Probe:
    """Asks a server that may never answer: one question at a time, in a thread of its own, without a long wait.

    Args:
        ask: asks the server; raises if the answer is bad.
        patience: seconds to wait for an answer.
        trusted: seconds for which an answer is good.
    """

    def __init__(
        self, name: str, ask: Callable[[], None], patience: float = _PATIENCE, trusted: float = _TRUSTED
    ) -> None:
        self._name, self._ask = name, ask
        self._patience, self._trusted = patience, trusted
        self._lock = threading.Lock()
        self._answered = threading.Event()
        self._answered.set()
        self._asked_at = self._answered_at = float("-inf")
        self._complaint = ""

    def __call__(self) -> str:
        """What is wrong; "" if the answer was good."""
        with self._lock:
            if self._answered.is_set() and time.monotonic() - self._answered_at > self._trusted:
                self._answered.clear()
                self._asked_at = time.monotonic()
                threading.Thread(target=self._find_out, name=f"events-{self._name}-probe", daemon=True).start()
        if self._answered.wait(max(0.0, self._asked_at + self._patience - time.monotonic())):
            return self._complaint
        return f"no answer for {time.monotonic() - self._asked_at:.0f} s"

    def _find_out(self) -> None:
        try:
            self._ask()
            self._complaint = ""
        except Exception as error:
            text = brief(error)
            self._complaint = text if isinstance(error, EventsError) else f"{type(error).__name__}: {text}"
        finally:
            self._answered_at = time.monotonic()
            self._answered.set()
