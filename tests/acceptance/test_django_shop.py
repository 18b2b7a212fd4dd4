"""examples/django-shop as its users run it: migrate, a server, a worker that is killed, another that goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from support.private_servers import free_port
from support.servers import PostgresDatabase
from support.size import alike
from support.waiting import eventually

ROOT = Path(__file__).parents[2]
ORDERS = 20


class Shop:
    """A copy of the example, and its processes."""

    def __init__(self, folder: Path, database: PostgresDatabase | None) -> None:
        self.folder = folder / "shop"
        shutil.copytree(ROOT / "examples" / "django-shop", self.folder)
        self.environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        self.environment |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "EVENTS_LEASE": "2s"}
        if database is not None:
            url = make_url(database.url)
            self.environment |= {"PGDATABASE": database.name, "PGHOST": str(url.host), "PGPORT": str(url.port)}
            self.environment |= {"PGUSER": url.username or "", "PGPASSWORD": str(url.password or "")}
        self.engine = create_engine(database.url if database is not None else f"sqlite:///{self.folder / 'shop.db'}")
        self.processes: list[subprocess.Popen[bytes]] = []

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "-W", "error", "manage.py", *arguments]
        ended = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=200
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        log = (self.folder / f"{len(self.processes)}.log").open("wb")
        command = [sys.executable, "manage.py", *arguments]
        with log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(process)
        return process

    def log(self) -> str:
        return (self.folder / f"{len(self.processes) - 1}.log").read_text()

    def ask(self, query: str) -> list[int]:
        """The row that this query finds in the shop's database."""
        with self.engine.connect() as connection:
            return list(connection.execute(text(query)).one())

    def kill_all(self) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.engine.dispose()


@pytest.fixture(params=["postgres", alike("sqlite")])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    database = PostgresDatabase() if request.param == "postgres" else None
    shop = Shop(tmp_path, database)
    try:
        yield shop
    finally:
        shop.kill_all()
        if database is not None:
            database.drop()


def order(port: int) -> int:
    form = urllib.parse.urlencode({"article": "lamp", "pieces": 2}).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/orders", form, timeout=30) as answer:
        return int(answer.status)


def is_open(port: int) -> bool:
    with suppress(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/nowhere", timeout=30)
    import socket

    with socket.socket() as door:
        return door.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.timeout(600)
def test_each_order_is_reserved_and_invoiced_once_though_a_worker_is_killed(shop: Shop) -> None:
    # Given the shop with its tables, a server and a worker
    shop.manage("migrate", "--verbosity", "0")
    shop.manage("check")
    shop.manage("makemigrations", "--check", "--dry-run")
    port = free_port()
    shop.start("runserver", "--noreload", f"127.0.0.1:{port}")
    eventually(lambda: is_open(port), "the server answers")
    worker = shop.start("events", "worker", "-c", "2", "-l", "INFO", "-n", "first@test")
    eventually(lambda: "ready." in shop.log(), "the worker is ready")
    # When orders come in, and the worker is killed in the middle of them
    assert [order(port) for _ in range(ORDERS)] == [201] * ORDERS
    eventually(lambda: "write_invoice ok" in shop.log(), "some orders are done")
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    assert [order(port) for _ in range(5)] == [201] * 5
    # Then another ends the work: everything has happened, and nothing twice
    shop.start("events", "worker", "-c", "2", "-l", "INFO", "-n", "second@test")
    both = "SELECT count(*), count(DISTINCT order_id) FROM orders_invoice"
    eventually(lambda: shop.ask(both) == [ORDERS + 5] * 2, "each order has one invoice")
    stock = "SELECT pieces, (SELECT count(*) FROM orders_order) FROM orders_stock"
    assert shop.ask(stock) == [-2 * (ORDERS + 5), ORDERS + 5]
    assert json.loads(shop.manage("events", "dead", "list", "--json")) == []


def test_its_own_tests_pass(shop: Shop) -> None:
    shop.manage("test")
