"""Ways in which a database goes away for a moment, and comes back by itself."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy import Engine, event

from rigs.chaos.machines import Machine
from rigs.chaos.proxy import Proxy

LASTS = 0.7  # seconds


class Database:
    """What can be done to a database of the test's own; `url` is how the application reaches it."""

    url: str
    ways: tuple[str, ...]

    def __init__(self) -> None:
        self._timers: list[threading.Timer] = []

    def go_away(self, way: str) -> None:
        """From now on, and for a moment."""
        back: Callable[[], None] | None = getattr(self, "_" + way.replace(" ", "_").replace("-", "_"))()
        if back is not None:
            timer = threading.Timer(LASTS, back)
            self._timers.append(timer)
            timer.start()

    def settle(self) -> None:
        for timer in self._timers:
            timer.join()


class Postgres(Database):
    """A database of a server that nobody else uses, by a role that is no superuser, through a proxy."""

    ways = ("connections end", "cut", "full of connections", "read-only", "restart")

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine
        self.proxy = Proxy(machine.port)
        self._name = f"t{uuid4().hex[:12]}"
        self._as_admin("CREATE ROLE {} LOGIN")
        self._as_admin("CREATE DATABASE {} OWNER {}")
        self.url = f"postgresql://{self._name}@127.0.0.1:{self.proxy.port}/{self._name}"

    def close(self) -> None:
        self.settle()
        self.proxy.close()
        self._as_admin("DROP DATABASE {} WITH (FORCE)")

    def _as_admin(self, *statements: str) -> None:
        with psycopg.connect(self._machine.url, autocommit=True) as connection:
            for statement in statements:
                name = sql.Identifier(self._name)
                connection.execute(sql.SQL(statement).format(*[name] * statement.count("{}")))

    def _connections_end(self) -> None:
        with psycopg.connect(self._machine.url, autocommit=True) as connection:
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            connection.execute(query, [self._name])

    def _cut(self) -> Callable[[], None]:
        self.proxy.cut()
        return self.proxy.heal

    def _full_of_connections(self) -> Callable[[], None]:
        self._as_admin("ALTER ROLE {} CONNECTION LIMIT 0")
        self._connections_end()
        return lambda: self._as_admin("ALTER ROLE {} CONNECTION LIMIT -1")

    def _read_only(self) -> Callable[[], None]:
        """As after a failover: connections stay, and the server is the primary no more."""
        self._as_admin("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")

        def back() -> None:
            with psycopg.connect(self._machine.url, autocommit=True) as connection:
                connection.execute("SET default_transaction_read_only = off")
                connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
                connection.execute("SELECT pg_reload_conf()")

        return back

    def _restart(self) -> Callable[[], None]:
        self._machine.end()
        return self._machine.start


class Sqlite(Database):
    """A file that somebody else locks, that may only be read, or that can't grow."""

    ways = ("locked", "read-only", "full")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.url = f"sqlite:///{path}"
        self._pragma = ""

    def watch(self, engine: Engine) -> None:
        """What is no longer allowed is told to each connection, as the file system would tell it."""

        def before(connection: Any, cursor: Any, *_: Any) -> None:
            cursor.connection.execute(self._pragma or "PRAGMA query_only = off").fetchall()
            if not self._pragma:
                cursor.connection.execute("PRAGMA max_page_count = 1000000").fetchall()

        event.listen(engine, "before_cursor_execute", before)

    def close(self) -> None:
        self.settle()

    def _locked(self) -> Callable[[], None]:
        other = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=5)
        began = threading.Event()

        def lock() -> None:  # as soon as whoever writes now has ended
            other.execute("BEGIN IMMEDIATE")
            began.set()

        thread = threading.Thread(target=lock, daemon=True)
        thread.start()
        began.wait(0.1)

        def back() -> None:
            thread.join()
            other.close()

        return back

    def _read_only(self) -> Callable[[], None]:
        self._pragma = "PRAGMA query_only = on"
        return self._well

    def _full(self) -> Callable[[], None]:
        self._pragma = "PRAGMA max_page_count = 1"
        return self._well

    def _well(self) -> None:
        self._pragma = ""


@contextmanager
def impatient() -> Iterator[None]:
    """SQLite's writers wait for each other for a moment only."""
    with patch("events.store.database.engine.BUSY_TIMEOUT", 200):
        yield
