"""A system whose workers are those of `depot`, a Celery application with an outbox; and what its tasks have done."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from uuid import uuid4

import kombu

from support.servers import server_url
from support.system import BROKERS, Process, System
from support.waiting import eventually


class Depot(System):
    """In modes without a broker the application has none either."""

    def __init__(self, mode: str, folder: Path, **settings: str) -> None:
        super().__init__(mode, folder, handlers="depot.tasks", **settings)
        self.queue = f"depot-{uuid4().hex[:12]}"
        self.broker_url = self.environment.pop("EVENTS_BROKER_URL")
        self.environment |= {
            "C_FORCE_ROOT": "1",
            "DEPOT_BROKER_URL": self.broker_url,
            "DEPOT_RESULTS_URL": server_url("REDIS"),
            "DEPOT_QUEUE": self.queue,
            "DEPOT_NOTES": str(folder / "notes"),
        }
        if not self.broker_url:
            self.environment["EVENTS_BROKER_URL"] = ""

    def start_depot(self, *options: str, pool: str = "prefork", concurrency: int = 2, until: str = "ready.") -> Process:
        """A worker of the application; without a broker one of `celery -A events`."""
        name = f"d{len(self.processes)}-{self.queue}@test"
        self.worker_names.append(name)
        app = "depot" if self.broker_url else "events"
        arguments = ["celery", "-A", app, "worker", "-c", str(concurrency), "-P", pool, "-l", "INFO", "-n", name]
        process = self.start([*arguments, *options])
        process.wait_for(until)
        return process

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        if command[0] == "events":
            command = (sys.executable, "-m", *command)
        return subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=120
        )

    def ask(self, program: str) -> list[str]:
        """What a web process of the application prints."""
        heads = "from events import *\nfrom sqlalchemy import text\nfrom sqlalchemy.orm import Session\n"
        ended = self.run(sys.executable, "-c", f"{heads}from depot.tasks import *\n{program}")
        assert ended.returncode == 0, ended.stderr[-3000:]
        return ended.stdout.splitlines()

    def notes(self) -> list[str]:
        """What plain tasks noted, a line for each run."""
        path = self.folder / "notes"
        return path.read_text().splitlines() if path.exists() else []

    def noted(self, start: str, times: int = 1, timeout: float = 120) -> list[str]:
        """Wait until so many runs are noted; these lines."""

        def found() -> list[str] | None:
            lines = [line for line in self.notes() if line.startswith(start)]
            return lines if len(lines) >= times else None

        return eventually(found, f"{times} of {start!r} in {self.notes()}", timeout)

    def runs(self) -> Counter[str]:
        """How often each task ran, by what it did."""
        return Counter(line.partition(" id=")[0].strip() for line in self.notes())

    def _clean_up(self) -> None:
        try:
            if self.mode in BROKERS:
                with kombu.Connection(server_url(BROKERS[self.mode])) as connection, connection.channel() as channel:
                    for name in (self.queue, f"{self.queue}-slow"):
                        if self.mode == "redis":
                            channel.queue_purge(name)
                        channel.queue_delete(name)
        finally:
            super()._clean_up()
