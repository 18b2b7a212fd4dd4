"""Savepoints, at a third of SQLAlchemy's price, and the transaction that several deliveries share.

In a shared transaction each delivery has a savepoint, which is set before its handler's first statement, on PostgreSQL
in one round trip with it, and to which the transaction goes back if the handler fails.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from events.errors import HandlerError, KeepsToItself
from events.store.database.driver import execute_by_driver
from events.store.database.watched_connections import watch_of

_SHARED = "events_shared"
_OURS = "events_delivery"
_GROUP = "events_group"  # around all of these: it is gone if a handler ended the transaction


class SqlShared:
    """Keeps the contract of events.ledger.Shared."""

    def __init__(self, connection: Connection) -> None:
        watch = watch_of(connection)
        if watch is None:
            raise KeepsToItself("deliveries share no transaction on a connection that the application makes by itself")
        self.connection = connection
        self._watch = watch
        watch.in_company = True
        driver: Any = connection.connection.driver_connection
        self._driver = driver
        self._attributes = driver.attributes()
        self._options = connection.get_execution_options()
        self._is_set = False  # by this delivery or an earlier one
        self._secured = False
        self._sent = 0
        self._same_place: set[str] = set()  # savepoints that were asked for right after ours
        self._is_postgres = connection.dialect.name == "postgresql"

    def begin_next(self) -> None:
        self._drop_waiting()
        self._secured = False
        self._same_place.clear()

    def secure(self) -> None:
        if self._secured:
            return
        before = f"RELEASE SAVEPOINT {_OURS}" if self._is_set else f"SAVEPOINT {_GROUP}"
        if self._is_postgres:
            self._driver.send_with_next(before, f"SAVEPOINT {_OURS}")
        else:
            self._send(before, f"SAVEPOINT {_OURS}")
        self._secured = True
        self._sent = self._watch.statements

    def end(self) -> None:
        self._check_touched()
        if self._is_postgres and self._driver.pgconn.transaction_status == TransactionStatus.INERROR:
            raise HandlerError(
                f"handler {self._watch.handler!r} went on after an error of the database, with which PostgreSQL gives "
                f"up the transaction; use a savepoint (begin_nested) around what may fail"
            )
        if self.connection.in_nested_transaction():
            raise KeepsToItself(f"handler {self._watch.handler!r} leaves a savepoint open, so it runs by itself")

    def undo(self) -> None:
        self._check_touched()
        while (nested := self.connection.get_nested_transaction()) is not None:
            with suppress(DBAPIError):  # it may have ended with the savepoint around it
                nested.rollback()
        self._drop_waiting()
        if self._secured:
            self._send(f"ROLLBACK TO SAVEPOINT {_OURS}")

    def check(self) -> None:
        """On PostgreSQL the COMMIT fails then, which takes no round trip more."""
        self._drop_waiting()
        if self._is_set and self._is_postgres:
            self._watch.last = f"RELEASE SAVEPOINT {_GROUP}"
        elif self._is_set:
            self._send(f"RELEASE SAVEPOINT {_GROUP}")

    def is_same_place(self, name: str) -> bool:
        return name in self._same_place

    def is_new_place(self, name: str) -> bool:
        """Whether a savepoint of this name must be set: not if no statement was sent since ours."""
        if not self._secured or self._watch.statements != self._sent:
            return True
        self._same_place.add(name)
        return False

    def _drop_waiting(self) -> None:
        """If this delivery sent nothing, it needs no savepoint, and has none."""
        if self._is_postgres and self._driver.waiting:
            self._driver.waiting, self._secured = (), False
        self._is_set = self._is_set or self._secured

    def _check_touched(self) -> None:
        if (
            self._watch.touched
            or self.connection.get_execution_options() != self._options
            or self._driver.attributes() != self._attributes
        ):
            raise KeepsToItself(f"handler {self._watch.handler!r} changes its connection, so it runs by itself")

    def _send(self, *statements: str) -> None:
        if self._is_postgres:
            self._driver.execute("; ".join(statements), prepare=False)
        else:
            for statement in statements:
                self._driver.execute(statement)


def make_savepoints_cheap(engine: Engine) -> None:
    """Send savepoints by the driver itself, past SQLAlchemy's machinery for statements."""
    dialect: Any = engine.dialect
    dialect.do_savepoint = _set
    dialect.do_rollback_to_savepoint = _roll_back
    dialect.do_release_savepoint = _release


@contextmanager
def shared(connection: Connection) -> Iterator[SqlShared]:
    """While the block runs, several deliveries share the transaction of this connection."""
    info = connection.info
    info[_SHARED] = sharing = SqlShared(connection)
    try:
        yield sharing
    finally:
        sharing.begin_next()  # nothing of ours waits any more
        info.pop(_SHARED, None)


def _set(connection: Connection, name: str) -> None:
    sharing: SqlShared | None = connection.info.get(_SHARED)
    if sharing is None or sharing.is_new_place(name):
        execute_by_driver(connection, f"SAVEPOINT {name}")


def _roll_back(connection: Connection, name: str) -> None:
    sharing: SqlShared | None = connection.info.get(_SHARED)
    place = _OURS if sharing is not None and sharing.is_same_place(name) else name
    execute_by_driver(connection, f"ROLLBACK TO SAVEPOINT {place}")


def _release(connection: Connection, name: str) -> None:
    sharing: SqlShared | None = connection.info.get(_SHARED)
    if sharing is None or not sharing.is_same_place(name):
        execute_by_driver(connection, f"RELEASE SAVEPOINT {name}")
