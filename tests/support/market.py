"""A system whose workers are those of `market`, a Celery application that was there before."""

import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import kombu

from support.servers import server_url
from support.system import BROKERS, Process, System
from support.waiting import eventually


class Market(System):
    """`settings` are those of the ledger; handlers use the broker that Celery has, if none of these says otherwise."""

    def __init__(self, mode: str, folder: Path, **settings: str) -> None:
        super().__init__(mode, folder, **settings)
        self.queue = f"market-{uuid4().hex[:12]}"
        self.handlers_queue = self.environment["EVENTS_QUEUE"]
        self.broker_url = self.environment.pop("EVENTS_BROKER_URL")
        if "broker_url" in settings:
            self.environment["EVENTS_BROKER_URL"] = settings["broker_url"]
            self.broker_url = server_url(BROKERS[mode])
        self.environment |= {
            "C_FORCE_ROOT": "1",  # Celery refuses pickle to root
            "MARKET_BROKER_URL": self.broker_url,
            "MARKET_RESULTS_URL": server_url("REDIS"),
            "MARKET_QUEUE": self.queue,
            "MARKET_NOTES": str(folder / "notes"),
            "MARKET_BEAT_FILE": str(folder / "beat"),
        }

    def celery(self, *arguments: str) -> list[str]:
        return ["celery", "-A", "market", *arguments]

    def start_market(self, *options: str, pool: str = "prefork", concurrency: int = 2) -> Process:
        """A worker of the application, and of handlers."""
        name = f"m{len(self.processes)}-{self.queue}@test"
        self.worker_names.append(name)
        arguments = self.celery("worker", "-c", str(concurrency), "-P", pool, "-l", "INFO", "-n", name, *options)
        process = self.start(arguments)
        process.wait_for("ready.")
        return process

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command of the application's, to its end."""
        if command[0] == "celery":
            command = (sys.executable, "-m", *command)
        return subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=120
        )

    def ask(self, program: str) -> list[str]:
        """What a web process of the application prints."""
        program = f"from market.tasks import *\n{program}"
        ended = self.run(sys.executable, "-c", program)
        assert ended.returncode == 0, ended.stderr[-3000:]
        return ended.stdout.splitlines()

    def notes(self) -> list[str]:
        """What plain tasks noted, a line for each run."""
        path = self.folder / "notes"
        return path.read_text().splitlines() if path.exists() else []

    def noted(self, start: str, times: int = 1) -> None:
        """Wait until so many runs are noted."""

        def count() -> bool:
            return sum(line.startswith(start) for line in self.notes()) >= times

        eventually(count, f"{times} of {start!r} in {self.notes()}")

    def log_of(self, process: Process) -> str:
        return process.log.read_text()

    def _clean_up(self) -> None:
        try:
            with kombu.Connection(server_url(BROKERS[self.mode])) as connection, connection.channel() as channel:
                for name in (self.queue, f"{self.queue}-slow"):
                    if self.mode == "redis":
                        channel.queue_purge(name)
                    channel.queue_delete(name)
        finally:
            super()._clean_up()
