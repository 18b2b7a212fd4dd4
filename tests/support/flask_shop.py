"""The example `flask-celery` as it was or as it is with events: its web server, its worker, and real requests."""

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import create_engine, text

from rigs.chaos.machines import Machine
from support.pasting import users_environment
from support.private_servers import free_port
from support.servers import PostgresDatabase
from support.waiting import eventually

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "flask-celery"
BEFORE, AFTER = EXAMPLE / "before", EXAMPLE / "after"
TICKS = {"shop.tasks.stock.count_stock"}  # how often beat sent them is the clock's
PATIENCE = 300.0  # seconds
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class FlaskShop:
    """One of the two states, with a database of its own and brokers that nobody else uses."""

    def __init__(self, state: Path, folder: Path, broker: Machine, results: Machine) -> None:
        self.state, self.folder, self._results = state, folder, results
        self._database = PostgresDatabase()
        self._port = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.environment = users_environment() | {
            "DATABASE_URL": self._database.url,
            "BROKER_URL": broker.url,
            "RESULT_URL": self._results_url,
            "BEAT_FILE": str(folder / "beat"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        }

    @property
    def _results_url(self) -> str:
        return self._results.url.removesuffix("/0") + "/1"

    @contextmanager
    def open(self) -> Iterator["FlaskShop"]:
        try:
            with redis.Redis.from_url(self._results_url) as client:
                client.flushall()
            self.run(*(("events", "migrate") if self.state == AFTER else ("flask", "--app", "shop", "create-tables")))
            self._start("flask", "--app", "shop", "run", "--port", str(self._port))
            eventually(lambda: self._answers(), "the shop is open", PATIENCE)
            yield self
        finally:
            for process in self._processes:
                kill(process)
            self._database.drop()

    def run(self, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=self.state, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start_worker(self) -> subprocess.Popen[bytes]:
        process = self._start("celery", "-A", "shop", "worker", "-B", "-c", "2", "-l", "INFO", "-n", "w@test")
        eventually(lambda: "ready." in self.log_of(process), "the worker is ready", PATIENCE)
        return process

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{len(self._processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=self.state, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def log_of(self, process: subprocess.Popen[bytes]) -> str:
        return (self.folder / f"{self._processes.index(process)}.log").read_text()

    # What customers do

    def get(self, path: str) -> Any:
        return self._ask(urllib.request.Request(self._url(path)))

    def post(self, path: str, data: Any = None) -> Any:
        body = json.dumps(data).encode()
        headers = {"Content-Type": "application/json"}
        return self._ask(urllib.request.Request(self._url(path), body, headers, method="POST"))

    def _ask(self, request: urllib.request.Request) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            error.add_note("\n".join(self.log_of(process)[-3000:] for process in self._processes))
            raise

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}{path}"

    def _answers(self) -> bool:
        try:
            self.get("/orders/1")
        except urllib.error.HTTPError:  # there is none
            return True
        except OSError:
            return False
        return True

    def ended(self, task: str) -> Any:
        """Wait for the end of a task; its state and its result."""

        def look() -> Any:
            found = self.get(f"/tasks/{task}")
            return found if found["state"] in ("SUCCESS", "FAILURE") else None

        return eventually(look, f"task {task} has ended", PATIENCE)

    # What came of it

    def rows(self, statement: str) -> list[Any]:
        engine = create_engine(self._database.url)
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(text(statement))]
        finally:
            engine.dispose()

    def results(self) -> Counter[tuple[str, ...]]:
        """What the result backend says of each task that ran: name, arguments, state, result, retries and queue. It
        leaves out the ids of tasks, which no two runs share."""
        with redis.Redis.from_url(self._results_url) as client:
            found = [json.loads(client.get(key) or b"{}") for key in client.scan_iter("celery-task-meta-*")]
        told = ("name", "args", "kwargs", "status", "result", "retries", "queue")
        return Counter(tuple(_ID.sub("id", json.dumps(one.get(part))) for part in told) for one in found)


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9 of the process and its children."""
    if process.poll() is None:
        os.killpg(process.pid, 9)
        process.wait()
