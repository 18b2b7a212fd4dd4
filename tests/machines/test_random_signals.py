"""Every pool, every signal, once and twice, to whomever: nothing stays running, and nobody is blamed for it.

A cell is a pool, signals, who gets them and what the worker does meanwhile. Several workers are tried side by side on
one ledger; which cells, the seed says: one seed after another goes through all of them.
"""

import os
import random
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from uuid import UUID

import pytest

import signalled
from events import publish
from support.exploring import SECONDS, explore, long_enough
from support.system import Process, System
from support.waiting import eventually

SIDE_BY_SIDE = 7 if SECONDS else 4
DEADLINE = 3.0  # seconds
COLD = (["QUIT"], ["QUIT", "QUIT"], ["INT", "INT"])
SIGNALS = (["TERM"], ["INT"], ["HUP"], ["TERM", "TERM"], ["HUP", "HUP"], ["TERM", "HUP"], ["HUP", "TERM"], *COLD)
LOADS = ("idle", "running", "ends in time", "in a group")
CELLS = [
    *product(("prefork", "threads", "solo"), SIGNALS, ("main", "group"), LOADS),
    *product(("prefork",), SIGNALS, ("child",), LOADS),
]


@dataclass
class Cell:
    """One worker, and what it is put through."""

    pool: str
    signals: list[str]
    target: str
    load: str
    number: int
    release: Path
    worker: Process = field(init=False)
    events: list[signalled.Job] = field(default_factory=list)
    held: signalled.Job | None = None

    def __str__(self) -> str:
        return f"{self.pool}, {'+'.join(self.signals)} to {self.target}, {self.load}"

    @property
    def ids(self) -> list[UUID]:
        return [event.event_id for event in self.events]

    @property
    def restarts(self) -> bool:
        return set(self.signals) == {"HUP"} and self.target != "child"

    @property
    def codes(self) -> set[int]:
        """Those that it may end with."""
        if self.signals in COLD:
            return {1}
        if self.signals == ["HUP", "TERM"] and self.load == "idle":
            # Python starts anew: for a moment the kernel's own answer holds
            return {0, -signal.SIGTERM}
        return {0, 1} if "INT" in self.signals else {0}

    def start(self, system: System) -> None:
        queue, limit = signalled.queues[self.number], "60s" if self.load == "ends in time" else f"{DEADLINE}s"
        arguments = ["celery", "-A", "events", "worker", "-P", self.pool, "-c", "2", "-l", "INFO", "-Q", queue]
        self.worker = system.start([*arguments, "-n", f"{queue}@test"], shutdown_timeout=limit)

    def work(self, system: System) -> None:
        """Give it what it has to be in the middle of."""
        self.worker.wait_for("ready.")
        kind = signalled.kinds[self.number]
        if self.load == "idle":
            return
        if self.load == "in a group":  # only what is known to be fast shares a transaction
            warm = [kind() for _ in range(60)]
            publish(warm)
            system.settled(60, *[event.event_id for event in warm])
        self.held = kind(release=str(self.release))
        after = [kind() for _ in range(30)] if self.load == "in a group" else []
        self.events = [*after[:10], self.held, *after[10:]]
        publish(self.events)
        eventually(lambda: system.starts(self.held.event_id), f"{self}: it is in the middle")

    def signal(self, system: System) -> None:
        numbers = [getattr(signal, f"SIG{name}") for name in self.signals]
        for number in numbers:
            with suppress(ProcessLookupError):  # the first of two may have ended it
                if self.target == "group":
                    os.killpg(self.worker.pid, number)
                elif self.target == "main":
                    os.kill(self.worker.pid, number)
                elif (child := self._child(system)) is not None:
                    os.kill(child, number)
            time.sleep(0.3)  # as people and supervisors do
        if self.load == "ends in time":
            self.release.touch()

    def _child(self, system: System) -> int | None:
        if self.held is not None:
            return next(iter(system.started_by(self.held.event_id)))
        path = Path(f"/proc/{self.worker.pid}/task/{self.worker.pid}/children")
        children = path.read_text().split() if path.exists() else []
        return int(children[0]) if children else None

    def check_end(self, system: System) -> None:
        """Of the worker."""
        if self.restarts:
            eventually(lambda: self.worker.log.read_text().count("ready.") > 1, f"{self}: it has started anew")
        if self.target == "child" or self.restarts:
            assert self.worker.alive(), f"{self}: it has ended"
            return
        code, cold = self.worker.exit_code(), self.signals in COLD
        assert code in self.codes, f"{self}: exit code {code}"
        if not self.events:
            return
        # What ran is done, or waits as if it had never begun
        states = system.states(*self.ids)
        assert set(states) <= {"pending", "sent", "succeeded"}, f"{self}: {states}"
        if self.load == "ends in time" and not cold:
            assert states == {"succeeded": len(self.events)}, f"{self}: {states}"
        assert self.counted(system) <= {0, 1}, f"{self}: attempts were counted"

    def go_on(self, system: System) -> None:
        """A successor, or the worker itself if it still lives, does the rest."""
        self.release.touch()
        if self.worker.alive() and not self.events:
            self.events = [signalled.kinds[self.number]()]
            publish(self.events)
        elif not self.worker.alive() and self.events:
            self.start(system)

    def counted(self, system: System) -> set[int]:
        """Attempts that count, of what has not succeeded."""
        rows = system.deliveries(*self.ids)
        return {row.attempts - row.attempts_before for row in rows if row.state != "succeeded"}

    def check_all_done(self, system: System) -> None:
        if not self.events:
            return
        states = system.settled(len(self.events), *self.ids)
        assert states == {"succeeded": len(self.events)}, f"{self}: {states}"
        effects = system.effects(*self.ids)
        assert list(effects.values()) == [1] * len(self.events), f"{self}: {effects}"
        # A child that is ended alone may have been ended by its handler
        most = 2 if self.target == "child" else 1
        attempts = {row.attempts - row.attempts_before for row in system.deliveries(*self.ids)}
        assert max(attempts) <= most, f"{self}: {attempts}"


def cells(seed: int, folder: Path) -> list[Cell]:
    order = random.Random(11).sample(CELLS, len(CELLS))
    chosen = [order[(seed * SIDE_BY_SIDE + place) % len(order)] for place in range(SIDE_BY_SIDE)]
    return [Cell(*cell, number=number, release=folder / f"release-{number}") for number, cell in enumerate(chosen)]


@long_enough
@pytest.mark.parametrize("mode", ["postgres", "redis"])
def test_whatever_is_signalled_is_handed_back_or_ends_and_never_blamed(mode: str, tmp_path: Path) -> None:
    def try_some(seed: int) -> None:
        folder = tmp_path / str(seed)
        folder.mkdir()
        with System(mode, folder, handlers="signalled", lease="60s", stale_after="60s").in_use() as system:
            # Given workers, idle, in the middle of a delivery, or of a group
            chosen = cells(seed, folder)
            for cell in chosen:
                cell.start(system)
            for cell in chosen:
                cell.work(system)
            # When each gets its signals
            for cell in chosen:
                cell.signal(system)
            # Then those that end do so in time, with nothing left running, and no attempt counted
            for cell in chosen:
                cell.check_end(system)
            # And with others in their places all is done, once
            for cell in chosen:
                cell.go_on(system)
            for cell in chosen:
                cell.check_all_done(system)

    explore(try_some)
