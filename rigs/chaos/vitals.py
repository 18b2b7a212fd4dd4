"""What processes hold: descriptors and memory, by role, sampled all the while and once more when all is at rest."""

import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rigs.chaos.processes import Process, descendants

EVERY = 2.0  # seconds
MOST_DESCRIPTORS = 90  # of one process at rest: a worker's main process has about 40, its relay's and broker's included
MOST_MEMORY = 400  # MiB that one process may ever hold


@dataclass
class Held:
    """By one process."""

    descriptors: int
    memory: float  # MiB


class Vitals:
    """Watches the processes of these roles, with all that they forked."""

    def __init__(self, processes: Iterable[Process]) -> None:
        self._processes = [one for one in processes if one.role in ("worker", "relay")]
        self._stopping = threading.Event()
        self.most = Held(0, 0.0)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def at_rest(self) -> list[str]:
        """What holds too much, now that there is nothing to do."""
        found = []
        for name, pid, held in self._sample():
            if held.descriptors > MOST_DESCRIPTORS:
                found.append(f"{name} (pid {pid}) keeps {held.descriptors} descriptors")
        if self.most.memory > MOST_MEMORY:
            found.append(f"one process had {self.most.memory:.0f} MiB")
        return found

    def _watch(self) -> None:
        while not self._stopping.wait(EVERY):
            for _, __, held in self._sample():
                self.most = Held(max(held.descriptors, self.most.descriptors), max(held.memory, self.most.memory))

    def _sample(self) -> list[tuple[str, int, Held]]:
        found = []
        for process in self._processes:
            for pid in descendants(process.pid):
                with suppress(OSError, ValueError, IndexError):
                    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
                    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                    pss = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
                    found.append((process.name, pid, Held(descriptors, int(pss.split()[1]) / 1024)))
        return found
