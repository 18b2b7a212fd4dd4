"""Ends a process that hangs, so that its supervisor starts another: it looks alive, and does nothing."""

import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta

log = logging.getLogger("events.watchdog")

HUNG = 70  # the exit code
_STDERR = 2  # its file descriptor


class Pulse:
    """A sign of life that should come again and again."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def beat(self) -> None:
        self._last = time.monotonic()

    def silence(self) -> float:
        """Seconds since the last beat."""
        return time.monotonic() - self._last


# By name, a function that returns for how many seconds the sign is silent. Several threads call it; it never waits.
Signs = Mapping[str, Callable[[], float]]


def silences(signs: Signs) -> dict[str, float]:
    """For how many seconds each sign has been silent; 0 if that can't be known."""
    return {name: _asked(silence) for name, silence in signs.items()}


def _asked(silence: Callable[[], float]) -> float:
    try:
        return silence()
    except Exception as error:
        log.debug("can't judge: %s", error)
        return 0


class Watchdog:
    """Looks four times in `limit`, from a thread of its own.

    Args:
        signs: what to watch.
        look: called before each look at the signs; it may take a while.
    """

    def __init__(self, limit: timedelta, signs: Signs, look: Callable[[], None] | None = None) -> None:
        self._limit = limit.total_seconds()
        self._signs = signs
        self._look = look
        self._stopping = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._watch, name="events-watchdog", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def _watch(self) -> None:
        pause = self._limit / 4
        looked = judge_from = time.monotonic()
        while not self._stopping.wait(pause):
            now = time.monotonic()
            if now - looked > 2 * pause + 1:  # this process was stopped, or the machine slept: every sign is silent
                judge_from = now + self._limit
            looked = now
            if self._look is not None:
                self._look()
            for name, seconds in silences(self._signs).items():
                if seconds > self._limit and now >= judge_from and not self._stopping.is_set():
                    _end(f"{name} has been silent for {seconds:.0f} s (EVENTS_WATCHDOG is {self._limit:g} s)")


def _end(reason: str) -> None:
    try:
        # Not by sys.stderr: Celery replaces that by a logger, and a logger may be the thing that hangs.
        os.write(_STDERR, f"events: {reason}; this process ends, to be started again. Its threads:\n".encode())
        faulthandler.dump_traceback(file=_STDERR, all_threads=True)
    finally:
        os._exit(HUNG)
