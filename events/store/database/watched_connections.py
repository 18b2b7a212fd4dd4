"""Connections that see every statement that is sent on them, by SQLAlchemy, by pandas or by the driver itself.

A handler must not end its delivery's transaction. Its other effects on the transaction or the connection are noted, so
that they don't reach the next user of the connection.
"""

import sqlite3
from types import ModuleType
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from sqlalchemy import Connection

from events.errors import KeepsToItself, TransactionMisused
from events.publishing import running
from events.store.database.statement_effects import Touch, touch_of

SETTINGS = ("session_authorization", "role", "search_path", "statement_timeout", "lock_timeout")
# SHOW takes no snapshot, unlike SELECT: a SET TRANSACTION may follow it.
SHOW = "; ".join(f"SHOW {name}" for name in SETTINGS)
_ATTRIBUTES = ("row_factory", "text_factory", "cursor_factory", "server_cursor_factory", "prepare_threshold")


class Watch:
    """The state of a driver's connection since it was taken out of the pool."""

    def __init__(self) -> None:
        self.pooled = False  # another client may get the server's connection when a transaction ends
        self.names: dict[str, Touch] = {}
        self.fresh()

    def fresh(self) -> None:
        self.statements = 0  # the number that was sent
        self.handler: str | None = None  # the handler whose delivery runs
        self.in_company = False  # other deliveries share the transaction
        self.touched = Touch.NOTHING
        self.settings: dict[str, str] = {}  # the values of SETTINGS before a handler ran
        self.last = ""  # a statement of ours that goes out with the COMMIT, in one round trip

    def see(self, driver: Any, statement: object, values: Any = None) -> None:
        """Called before a statement is sent."""
        self.statements += 1
        if self.handler is None and running.get() is None:
            return
        text = statement if isinstance(statement, str) else _text(driver, statement)
        if touch := touch_of(text, values, self.names):
            self.touch(driver, touch, text)

    def touch(self, driver: Any, touch: Touch, what: str) -> None:
        """Called before an effect. Raises if the handler must not have it."""
        if touch >= Touch.READ_ONLY:
            if self.handler is not None:
                self.refuse(touch, what)
            return
        before, self.touched = self.touched, max(self.touched, touch)
        if self.in_company:
            raise KeepsToItself(f"handler {self.handler!r} does more than read and write rows: {_short(what)}")
        if not before and self.handler is not None and isinstance(driver, psycopg.Connection):
            self.settings = shown(driver)

    def refuse(self, touch: Touch, what: str) -> None:
        does = "end" if touch is Touch.END else "make read-only"
        raise TransactionMisused(
            f"handler {self.handler!r} tried to {does} the delivery's own transaction ({_short(what)}), in which its "
            f"outcome is written when it returns; use a savepoint (begin_nested) or raise an error"
        )


def watch_of(connection: Connection) -> Watch | None:
    """The watch of a connection; None for one that the application made itself."""
    return getattr(connection.connection.driver_connection, "watch", None)


def watch_for(connection: Connection, names: dict[str, Touch]) -> None:
    """The effects of names in this database; see `pg_catalog`."""
    if (known := watch_of(connection)) is not None:
        known.names = names


class Watched:
    """The common part of watched connections."""

    watch: Watch

    def set_up(self) -> None:
        self.watch = Watch()

    def attributes(self) -> tuple[Any, ...]:
        """Attributes that code may set on a driver's connection, and that the next user doesn't expect."""
        return tuple(getattr(self, name, None) for name in _ATTRIBUTES)

    def guard(self, what: str) -> None:
        if self.watch.handler is not None:
            self.watch.refuse(Touch.END, what)


class WatchedCursor(psycopg.Cursor[Any]):
    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        _watch_over(self).see(self.connection, query, params)
        return super().execute(query, params, **options)

    def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
        _watch_over(self).see(self.connection, query)
        super().executemany(query, params_seq, **options)

    def copy(self, statement: Any, params: Any = None, **options: Any) -> Any:
        _watch_over(self).see(self.connection, statement, params)
        return super().copy(statement, params, **options)

    def stream(self, query: Any, params: Any = None, **options: Any) -> Any:
        _watch_over(self).see(self.connection, query, params)
        return super().stream(query, params, **options)


class WatchedServerCursor(psycopg.ServerCursor[Any]):
    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        watch = _watch_over(self)
        watch.see(self.connection, query, params)
        if self.withhold and (watch.handler is not None or running.get() is not None):
            watch.touch(self.connection, Touch.CONNECTION, "a cursor WITH HOLD")
        return super().execute(query, params, **options)


def _watch_over(cursor: "psycopg.Cursor[Any]") -> Watch:
    assert isinstance(cursor.connection, WatchedPostgres)
    return cursor.connection.watch


class WatchedPostgres(psycopg.Connection[Any], Watched):
    """psycopg's connection, watched."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.set_up()
        self.cursor_factory, self.server_cursor_factory = WatchedCursor, WatchedServerCursor

    def commit(self) -> None:
        self.guard("commit()")
        if self._is_left_touched():
            self._go_on_after("COMMIT")
        elif self.watch.last:
            last, self.watch.last = self.watch.last, ""
            self.execute(f"{last}; COMMIT", prepare=False)  # if the first of them fails, the second isn't executed
        else:
            super().commit()

    def rollback(self) -> None:
        self.guard("rollback()")
        if self._is_left_touched():
            self._go_on_after("ROLLBACK")
        else:
            super().rollback()

    def _is_left_touched(self) -> bool:
        return self.watch.pooled and self.watch.touched is Touch.CONNECTION and not self.closed

    def _go_on_after(self, end: str) -> None:
        """End the transaction and begin another in one message, so that a pooler keeps this server connection for us.

        Nobody else gets what a handler left on the server's connection, such as a role or a lock: our pool closes this
        connection, and a pooler closes a server connection that is left within a transaction.
        """
        self.execute(f"{end}; BEGIN ISOLATION LEVEL READ COMMITTED", prepare=False)

    def set_autocommit(self, value: bool) -> None:
        self.guard("autocommit")
        super().set_autocommit(value)

    def set_read_only(self, value: bool | None) -> None:
        self.guard("read_only")
        super().set_read_only(value)

    def set_isolation_level(self, value: Any) -> None:
        if self.watch.handler is not None:
            self.watch.touch(self, Touch.CONNECTION, "isolation_level")
        super().set_isolation_level(value)

    def transaction(self, *arguments: Any, **options: Any) -> Any:
        if self.watch.handler is not None and self.pgconn.transaction_status == TransactionStatus.IDLE:
            self.execute("SAVEPOINT events_begun")  # otherwise the end of the savepoint would commit the transaction
        return super().transaction(*arguments, **options)


class WatchedSqliteCursor(sqlite3.Cursor):
    connection: "WatchedSqlite"

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        self.connection.watch.see(self.connection, sql, parameters)
        return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> Any:
        self.connection.watch.see(self.connection, sql)
        return super().executemany(sql, parameters)

    def executescript(self, sql: str, /) -> Any:
        self.connection.guard("executescript(), which commits")
        return super().executescript(sql)


class WatchedSqlite(sqlite3.Connection, Watched):
    """sqlite3's connection, watched."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.set_up()

    def cursor(self, factory: Any = WatchedSqliteCursor) -> Any:
        return super().cursor(factory)

    def commit(self) -> None:
        self.guard("commit()")
        super().commit()

    def rollback(self) -> None:
        self.guard("rollback()")
        super().rollback()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("isolation_level", "autocommit"):
            self.guard(f"{name}, which commits")
        super().__setattr__(name, value)

    def __exit__(self, *error: Any) -> Any:
        self.guard("`with` the driver's connection")
        return super().__exit__(*error)


class _WatchedPsycopg(ModuleType):
    """psycopg, except that its connections are watched. For create_engine(module=...)."""

    connect = WatchedPostgres.connect

    def __getattr__(self, name: str) -> Any:
        return getattr(psycopg, name)


PSYCOPG = _WatchedPsycopg(psycopg.__name__)


def _text(driver: Any, statement: Any) -> str:
    if isinstance(statement, bytes):
        return statement.decode(errors="replace")
    as_string = getattr(statement, "as_string", None)  # of psycopg.sql
    return as_string(driver) if as_string is not None else str(statement)


def _short(what: str) -> str:
    line = " ".join(what.split())
    return line if len(line) <= 100 else line[:97] + "..."


def shown(driver: Any) -> dict[str, str]:
    """The present values of the settings that our own statements depend on."""
    found = {}
    try:
        cursor: Any = psycopg.Cursor(driver, row_factory=tuple_row)
        cursor.execute(SHOW, prepare=False)
        for name in SETTINGS:
            found[name] = cursor.fetchone()[0]
            cursor.nextset()
    except psycopg.Error:  # the transaction has failed already, and no more statements are sent in it
        return {}
    return found
