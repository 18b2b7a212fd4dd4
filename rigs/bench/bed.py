"""What one measurement runs on and in; its processes end with it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from rigs.bench import records
from rigs.bench.figures import Failed
from rigs.chaos.processes import Process
from rigs.demo.interrupts import held_back
from rigs.demo.worker import ROOT

QUEUE = "bench"  # of both sides
WITHIN = 600.0  # seconds for whatever is waited for
STALLED = 60.0  # ... and without any progress
_BECOME = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"


class Running(Process):
    """A process that is started once."""

    def __init__(self, role: str, number: int, arguments: list[str], environment: dict[str, str], folder: Path) -> None:
        super().__init__(role, number, arguments, environment, folder)
        self.look_after()
        self.give_up()

    @property
    def pid(self) -> int:
        assert self._popen is not None
        return self._popen.pid

    @property
    def ended(self) -> bool:
        self.look_after()
        return bool(self.codes)

    def last_lines(self) -> str:
        lines = [line for line in self.log.read_text("utf-8", "replace").splitlines() if line.strip()]
        return "\n".join(lines[-12:]) or "(it printed nothing)"


class Bed:
    """A database, a broker's queue, a folder, and the processes of one side."""

    def __init__(self, folder: Path, database: str, broker: str, settle: Callable[[], None]) -> None:
        self.folder, self.database, self.broker = folder, database, broker
        self.name = database.rpartition("/")[2]
        self.records = folder / "records"
        self.records.mkdir()
        self.settings: dict[str, str] = {}  # more of EVENTS_*
        self.settle = settle
        self.processes: list[Running] = []
        self._started = 0
        self._cleanup = ExitStack()
        self.engine = create_engine(database, isolation_level="AUTOCOMMIT",
                                    connect_args={"application_name": "bench"})  # fmt: skip
        self._cleanup.callback(self.engine.dispose)

    def __enter__(self) -> "Bed":
        return self

    def __exit__(self, *_: object) -> None:
        with held_back():
            self._cleanup.close()

    def environment(self) -> dict[str, str]:
        """All of it: nothing of the caller's own reaches a measurement."""
        plain = self.database.replace("postgresql+psycopg:", "postgresql:")
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "PYTHONPATH": f"{ROOT / 'rigs' / 'bench' / 'choices'}{os.pathsep}{ROOT}",  # its celeryconfig.py first
            "EVENTS_DATABASE_URL": plain,
            "EVENTS_BROKER_URL": self.broker,
            "EVENTS_HANDLERS": "rigs.bench.application",
            "EVENTS_QUEUE": QUEUE,
            "BENCH_DATABASE_URL": plain,
            "BENCH_BROKER_URL": self.broker,
            "BENCH_RECORDS": str(self.records),
        } | self.settings

    def python(self, *arguments: str, program: str | Path = sys.executable) -> str:
        """Run it to its end; what it printed on stdout. Raises Failed with its last words."""
        log = self.folder / "python.log"
        with held_back(), log.open("ab") as output:
            process = subprocess.Popen(
                [program, *arguments], cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=output, text=True, start_new_session=True,
            )  # fmt: skip
        try:
            printed, _ = process.communicate(timeout=WITHIN)
        except subprocess.TimeoutExpired:
            raise Failed(f"`python {' '.join(arguments)}` took longer than {WITHIN:g} s") from None
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            last = "\n".join(log.read_text("utf-8", "replace").strip().splitlines()[-8:])
            raise Failed(f"`python {' '.join(arguments)}` ended with {process.returncode}:\n{last}")
        return printed

    def figures(self, *arguments: str) -> Any:
        """What a program printed as JSON."""
        return json.loads(self.python(*arguments))

    def start(self, role: str, *arguments: str, program: str | Path = sys.executable, for_good: bool = True) -> Running:
        """Start it; it ends with the bed. If it is not `for_good`, it may end before: whoever starts it looks."""
        if program != sys.executable:  # ours is what is started, and becomes the other
            arguments = ("-c", _BECOME, str(program), *arguments)
        process = Running(role, self._started, list(arguments), self.environment(), self.folder)
        self._started += 1
        self._cleanup.callback(process.end)
        if for_good:
            self.processes.append(process)
        return process

    def end(self, process: Running) -> None:
        """End what was started for good before the bed ends."""
        self.processes.remove(process)
        process.end()

    def worker(self, app: str, children: int = 2) -> Running:
        """A prefork worker; `app` is events or rigs.bench.plain, and all else is the same."""
        return self.start(
            "worker", "-m", "celery", "-A", app, "worker", "-P", "prefork", "-c", str(children), "-l", "WARNING", "-n",
            "w@bench", "--without-gossip", "--without-mingle", "--without-heartbeat",
        )  # fmt: skip

    def rows(self, statement: str, **values: Any) -> list[Any]:
        with self.engine.connect() as connection:
            result = connection.execute(text(statement), values)
            return list(result) if result.returns_rows else []

    def number(self, statement: str, **values: Any) -> float:
        return float(self.rows(statement, **values)[0][0] or 0)

    def until(self, reached: Callable[[], float], goal: float, what: str, every: float = 0.1) -> None:
        """Wait until `reached` is the goal. Raises Failed if a process ends or nothing moves for a while."""
        begun = moved = time.monotonic()
        last = -1.0
        while (now := reached()) < goal:
            if now > last:
                last, moved = now, time.monotonic()
            for process in self.processes:
                if process.ended:
                    raise Failed(f"{what}: {process.name} ended with {process.codes[-1]}:\n{process.last_lines()}")
            if time.monotonic() - moved > STALLED or time.monotonic() - begun > WITHIN:
                words = "\n".join(process.last_lines() for process in self.processes)
                raise Failed(f"{what}: {now:,.0f} of {goal:,.0f} after {time.monotonic() - begun:.0f} s:\n{words}")
            time.sleep(every)

    def noted(self) -> int:
        return records.count(self.records)
