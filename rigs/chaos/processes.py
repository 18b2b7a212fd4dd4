"""The processes of a run: each in a session of its own, started again by a supervisor whenever it ends."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rigs.demo.interrupts import held_back

_RESTART_AFTER = 0.5  # seconds, as a supervisor would
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _die_with_the_rig() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A process that is kept running.

    Args:
        role: producer, worker, relay or operator.
        arguments: of `python`.
    """

    def __init__(self, role: str, number: int, arguments: list[str], environment: dict[str, str], folder: Path) -> None:
        self.name = f"{role}-{number}"
        self.role = role
        self.log = folder / f"{self.name}.log"
        self.starts = 0
        self.codes: list[int] = []
        self._arguments = arguments
        self._environment = environment
        self._ended_at = 0.0
        self._wanted = True
        self._lock = threading.Lock()
        self._popen: subprocess.Popen[bytes] | None = None

    def look_after(self) -> None:
        """Start it if it doesn't run; called again and again by the supervisor."""
        with self._lock:
            if self._popen is not None and (code := self._popen.poll()) is not None:
                self.codes.append(code)
                self._popen, self._ended_at = None, time.monotonic()
            if self._popen is None and self._wanted and time.monotonic() - self._ended_at >= _RESTART_AFTER:
                with held_back(), self.log.open("ab") as output:
                    self._popen = subprocess.Popen(
                        [sys.executable, *self._arguments], cwd=self.log.parent, env=self._environment,
                        stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                        preexec_fn=_die_with_the_rig,
                    )  # fmt: skip
                self.starts += 1

    def signal(self, number: signal.Signals) -> None:
        """To the whole process group."""
        with self._lock, suppress(ProcessLookupError):
            if self._popen is not None:
                os.killpg(self._popen.pid, number)

    def terminate(self, within: float) -> None:
        """SIGTERM to its main process, and wait for the end of that, but not for ever."""
        with self._lock:
            popen = self._popen
        if popen is not None:
            popen.terminate()
            with suppress(subprocess.TimeoutExpired):
                popen.wait(within)

    @property
    def pid(self) -> int | None:
        with self._lock:
            return self._popen.pid if self._popen is not None else None

    def child(self, which: int) -> int | None:
        """One of the processes that its main process forked."""
        with self._lock:
            children = _children(self._popen.pid) if self._popen is not None else []
        return children[which % len(children)] if children else None

    def give_up(self) -> None:
        """It is not to be started again."""
        self._wanted = False

    def end(self) -> None:
        self.give_up()
        self.signal(signal.SIGCONT)
        self.terminate(10)
        self.signal(signal.SIGKILL)
        if self._popen is not None:
            self._popen.wait()


def descendants(pid: int | None) -> list[int]:
    """A process, and all that it forked, and they."""
    if pid is None:
        return []
    return [pid, *(each for child in _children(pid) for each in descendants(child))]


def _children(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(status.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(status.parent.name))
    return sorted(found)


class Supervisor:
    """Looks after processes, from a thread."""

    def __init__(self, processes: list[Process], died: Callable[[Process], None]) -> None:
        self._processes = processes
        self._died = died
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(0.1):
            for process in self._processes:
                before = len(process.codes)
                process.look_after()
                if len(process.codes) > before:
                    self._died(process)
