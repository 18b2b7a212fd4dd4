"""A process of the demo in a session of its own, so that it and all it started can be ended by one id."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from rigs.demo.interrupts import held_back

ROOT = Path(__file__).resolve().parents[2]
GRACE = 10.0  # seconds that a worker has for what it is doing, before it is killed


class Process:
    """A running command; leaving the `with` block ends it and its whole process group.

    Args:
        arguments: of `python`, the one that runs the demo.
        environment: all of it; nothing is inherited.
        log: the file that gets what it prints.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with held_back(), log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            self.group = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def ended(self) -> bool:
        """Whether its first process is gone. That one is not reaped: as a zombie it keeps the group's id ours."""
        if self._process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self.group, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def wait(self, timeout: float) -> int | None:
        """The exit status; None if it runs longer than `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not self.ended:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.02)
        self.end()
        return self._process.returncode

    def send(self, number: signal.Signals) -> None:
        """A signal to the whole group."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.group, number)

    def kill(self) -> None:
        """What a crash, a power cut or the kernel's out-of-memory killer does."""
        with held_back():
            self.send(signal.SIGKILL)
            self._process.wait()

    def end(self) -> None:
        """SIGTERM, which Celery answers by finishing what it runs; after a while SIGKILL, to all that is left."""
        with held_back():
            if self._process.returncode is not None:
                return
            with suppress(ProcessLookupError):
                os.kill(self.group, signal.SIGTERM)
            self.send(signal.SIGCONT)  # it may be frozen, see watching
            deadline = time.monotonic() + GRACE
            while not self.ended and time.monotonic() < deadline:
                time.sleep(0.02)
            self.send(signal.SIGKILL)
            self._process.wait()

    def last_lines(self, count: int = 12) -> str:
        """What it printed last, for the message that says it failed."""
        lines = [line for line in self.log.read_text("utf-8", "replace").splitlines() if line.strip()]
        return "\n".join(lines[-count:]) or "(it printed nothing)"


def start_worker(name: str, environment: Mapping[str, str], log: Path) -> Process:
    """A Celery worker with two processes, as one would start it by hand."""
    command = ["-m", "celery", "-A", "events", "worker", "-c", "2", "--loglevel", "WARNING", "-n", f"{name}@%h"]
    return Process(command, environment, log)
