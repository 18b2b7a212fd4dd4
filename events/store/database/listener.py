"""How the relay waits: for a NOTIFY on PostgreSQL, for a changed file on SQLite, and for `wake` on both."""

import logging
import select
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine

from events.self_pipe import SelfPipe
from events.store.database.lent_transaction import OURS
from events.text import first_line

log = logging.getLogger("events.listener")

CHANNEL = "events_due"
NOTIFY = f"NOTIFY {CHANNEL}"
_SQLITE_LOOK = 0.01  # seconds between looks at SQLite's files: a few microseconds each
_SQLITE_FRESH = 30_000_000  # nanoseconds
_RECONNECT_AFTER = 5.0  # seconds


def wake_relays(connection: Connection) -> None:
    """Tell all relays to look at the ledger when this transaction commits. On SQLite they see the file change."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(NOTIFY, execution_options=OURS)


class PollingListener:
    """Waits for `wake` or the time-out: PostgreSQL behind PgBouncer in transaction mode."""

    def __init__(self) -> None:
        self._pipe = SelfPipe()

    def wait(self, timeout: timedelta) -> bool:
        return bool(self._readable(timeout.total_seconds()))

    def wake(self) -> None:
        self._pipe.wake()

    def close(self) -> None:
        self._pipe.close()

    def _readable(self, timeout: float, *others: int) -> set[int]:
        """Wait for `wake` or for one of the files with these numbers; returns those that are readable."""
        ready, _, _ = select.select([self._pipe.reader, *others], [], [], max(0.0, timeout))
        if self._pipe.reader in ready:
            self._pipe.clear()
        return set(ready)


class PostgresListener(PollingListener):
    """Waits for a NOTIFY, too, on a connection of its own. While it has none it polls."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self._connection: psycopg.Connection[Any] | None = None
        self._try_again = 0.0

    def wait(self, timeout: timedelta) -> bool:
        connection = self._listening()
        if connection is None:
            return super().wait(timeout)
        try:
            ready = self._readable(timeout.total_seconds(), connection.fileno())
            if connection.fileno() in ready:
                for _ in connection.notifies(timeout=0):
                    pass
            return bool(ready)
        except (psycopg.Error, OSError, ValueError) as error:
            log.warning("lost the connection that listens for new events, polling instead: %s", error)
            self._hang_up()
        return True  # notifications that were sent meanwhile were not heard

    def close(self) -> None:
        self._hang_up()
        super().close()

    def _listening(self) -> "psycopg.Connection[Any] | None":
        if self._connection is None and time.monotonic() >= self._try_again:
            self._try_again = time.monotonic() + _RECONNECT_AFTER
            try:
                arguments, keywords = self._engine.dialect.create_connect_args(self._engine.url)
                self._connection = psycopg.connect(*arguments, **{"connect_timeout": 10, **keywords}, autocommit=True)
                self._connection.execute(f"LISTEN {CHANNEL}")
            except psycopg.Error as error:
                log.warning("can't listen for new events, polling instead: %s", first_line(error))
                self._hang_up()
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class SqliteListener(PollingListener):
    """Looks whether the file or its write-ahead log changed. It has no connection, so none is open at a fork."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        database = str(engine.url.database)
        self._files = (f"{database}-wal", database)
        self._seen: list[tuple[int, int]] = []

    def wait(self, timeout: timedelta) -> bool:
        deadline = time.monotonic() + timeout.total_seconds()
        while (left := deadline - time.monotonic()) > 0:
            if self._readable(min(left, _SQLITE_LOOK)) or self._changed():
                return True
        return False

    def _changed(self) -> bool:
        found = []
        for name in self._files:
            with suppress(FileNotFoundError):
                status = Path(name).stat()
                found.append((status.st_mtime_ns, status.st_size))
        before, self._seen = self._seen, found
        # A file's time moves in steps of some milliseconds: a second change within a step must be assumed.
        fresh = any(abs(time.time_ns() - changed) < _SQLITE_FRESH for changed, _ in found)
        return found != before or fresh
