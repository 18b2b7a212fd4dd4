"""Savepoints, at a third of SQLAlchemy's price, and the transaction that several deliveries share.

An ORM handler has a savepoint for its session. In a shared transaction none is released: the commit does that, a round
trip is saved for each, and the first one of each delivery is what to go back to if it fails.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine

from events.store.driver import execute_by_driver

_SHARED = "events_shared"


def make_savepoints_cheap(engine: Engine) -> None:
    """They are sent by the driver itself, past the machinery for statements."""
    dialect: Any = engine.dialect
    dialect.do_savepoint = _set
    dialect.do_rollback_to_savepoint = _roll_back
    dialect.do_release_savepoint = _release


class SqlShared:
    """Keeps the contract of events.ports.Shared."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.first: str | None = None  # savepoint of the delivery at hand
        driver: Any = connection.connection.driver_connection
        driver.execute("SAVEPOINT events_group")
        self._driver = driver

    def begin_next(self) -> None:
        self.first = None

    def secure(self) -> None:
        if self.first is None:
            # A later one of the same name hides an earlier one.
            self._driver.execute("SAVEPOINT events_delivery")
            self.first = "events_delivery"

    def undo(self) -> None:
        if self.first is not None:
            self._driver.execute(f"ROLLBACK TO SAVEPOINT {self.first}")

    def check(self) -> None:
        self._driver.execute("RELEASE SAVEPOINT events_group")


@contextmanager
def shared(connection: Connection) -> Iterator[SqlShared]:
    """Until the block ends, the transaction of this connection is shared."""
    info = connection.info
    info[_SHARED] = sharing = SqlShared(connection)
    try:
        yield sharing
    finally:
        info.pop(_SHARED, None)


def _set(connection: Connection, name: str) -> None:
    execute_by_driver(connection, f"SAVEPOINT {name}")
    sharing: SqlShared | None = connection.info.get(_SHARED)
    if sharing is not None and sharing.first is None:
        sharing.first = name


def _roll_back(connection: Connection, name: str) -> None:
    execute_by_driver(connection, f"ROLLBACK TO SAVEPOINT {name}")


def _release(connection: Connection, name: str) -> None:
    if _SHARED not in connection.info:
        execute_by_driver(connection, f"RELEASE SAVEPOINT {name}")
