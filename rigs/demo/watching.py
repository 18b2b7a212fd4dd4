"""From the first card to the last outcome: publish, look, and with --kill-worker kill the worker in the middle."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from sqlalchemy import Engine

from rigs.demo.cards import Shelf
from rigs.demo.checks import Check
from rigs.demo.ledger import HANDLERS, OUTCOMES, Ledger
from rigs.demo.progress import Watch
from rigs.demo.worker import Process

LOOK_EVERY = 0.25  # seconds between two looks at the ledger
HUNG_AFTER = 60.0  # seconds without any progress


class DemoFailed(Exception):
    """The demo can't go on; the message says why."""


@dataclass
class Crash:
    """What was known when the worker had been killed."""

    handled: int
    interrupted: list[tuple[Any, str]]  # keys as the database gives them

    def checks(self, ledger: Ledger) -> list[Check]:
        again = sum(count for attempts, count in ledger.attempts(self.interrupted).items() if attempts > 1)
        return [Check("every handler that the kill cut short was started again", len(self.interrupted), again)]


class Show:
    """Publishes the cards and watches their deliveries.

    Args:
        start: starts a worker; called again after it was killed.
        kill: whether to kill the worker in the middle.
    """

    def __init__(
        self, console: Console, engine: Engine, shelf: Shelf, ledger: Ledger, start: Callable[[], Process], kill: bool
    ) -> None:
        self._engine = engine
        self._shelf = shelf
        self._ledger = ledger
        self._start = start
        self._kill = kill
        self._total = len(shelf.rows) * len(HANDLERS)
        self._watch = Watch(console, len(shelf.rows), self._total)
        self._done = 0
        self._moved_at = 0.0
        self._next_look = 0.0
        self.worker: Process | None = None
        self.crash: Crash | None = None

    def run(self, worker: Process) -> float:
        """Until each delivery has an outcome; the seconds it took. Raises DemoFailed."""
        self.worker = worker
        begun = self._moved_at = time.monotonic()
        with self._watch:
            for _ in self._shelf.add_all(self._engine):
                self._look()
            while self._done < self._total:
                self._look()
                time.sleep(0.02)
        if self._kill and self.crash is None:
            raise DemoFailed("the worker was done before it could be killed at work; try more --cards")
        return self._moved_at - begun

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        states = self._ledger.states()
        done = sum(count for (_, state), count in states.items() if state in OUTCOMES)
        if done > self._done:
            self._done, self._moved_at = done, now
        dead = sum(count for (_, state), count in states.items() if state == "dead")
        self._watch.show(len(self._shelf.committed), done, dead)
        if self.worker is not None and self.worker.ended:
            raise DemoFailed(f"the worker ended by itself; its last lines:\n{self.worker.last_lines()}")
        if now - self._moved_at > HUNG_AFTER and len(self._shelf.committed) == len(self._shelf.rows):
            left = ", ".join(f"{handler} {state} {n:,}" for (handler, state), n in sorted(states.items()))
            raise DemoFailed(f"no delivery got an outcome for {HUNG_AFTER:.0f} s ({left or 'there are none'})")
        hunting = self._kill and self.crash is None and done > self._total // 3
        if hunting:
            self._kill_at_work()
        # Handlers take milliseconds: to catch one running, look without a pause.
        self._next_look = time.monotonic() + (0 if hunting and self.crash is None else LOOK_EVERY)

    def _kill_at_work(self) -> None:
        """Freeze the worker; if it is in the middle of a handler, kill it, else let it go on."""
        if self.worker is None:
            return
        self.worker.send(signal.SIGSTOP)
        if not self._ledger.running():
            self.worker.send(signal.SIGCONT)
            return
        self.worker.kill()
        running = (
            self._ledger.running()
        )  # again: a commit that was under way when the worker froze may have got through
        if running:
            self.crash = Crash(self._done, running)
        self._watch.say(
            f"    killed the worker (kill -9, all its processes) after {self._done:,} of {self._total:,} deliveries, "
            f"in the middle of {len(running)}: {', '.join(handler for _, handler in running) or 'none, so once more'}"
        )
        self.worker = self._start()
        self._watch.say("    started another; what was cut short comes back when its lease of 5 s has ended")
        self._moved_at = time.monotonic()
