"""The engine, and the few things that differ between SQLite and PostgreSQL."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Interval,
    RootTransaction,
    bindparam,
    create_engine,
    event,
    func,
    literal,
    select,
)
from sqlalchemy.exc import DBAPIError, DisconnectionError

from events.settings import Settings
from events.store.forking import ForkSafety
from events.store.pooling import SPARE, LedgerPool, PoolExhausted
from events.store.savepoints import make_savepoints_cheap
from events.store.types import UtcDateTime

_SQLITE_AWAY = ("unable to open", "disk I/O error", "is full")
_CANCEL_WITHIN = 2.0  # seconds
_ASK_AFTER = 5.0  # seconds
_BUSY_TIMEOUT = 30_000  # ms that a writer waits for another on SQLite
_AWAY = ("08", "53", "57P", "58")  # classes: connection, resources (disk, connections), shutdown, system error
_CONTENTION = {"40001", "40P01", "55P03"}  # serialization failure, deadlock, lock not available


_NOTICE_ITS_END = {  # a database machine that vanished without a word: in seconds, not in hours
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # ms
}


def make_engine(settings: Settings, connections: tuple[int, int] | None = None) -> Engine:
    """An engine for EVENTS_DATABASE_URL. Connects when first used.

    Args:
        connections: how many are kept open, and how many more may be opened.
    """
    pool_size, max_overflow = connections or (settings.pool_size, SPARE)
    if settings.database_url.startswith("sqlite"):
        safety = ForkSafety(alone=True)
        engine = create_engine(
            settings.database_url,
            poolclass=safety.pool_class,
            pool_size=pool_size,
            max_overflow=max_overflow,
            hide_parameters=True,
        )
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        make_savepoints_cheap(engine)
        return safety.guard(engine)
    arguments: dict[str, Any] = {"connect_timeout": 10, "application_name": "events"} | _NOTICE_ITS_END
    if not settings.listen:  # PgBouncer in transaction mode: the next statement may run on another connection
        arguments["prepare_threshold"] = None
    engine = create_engine(
        settings.database_url,
        poolclass=LedgerPool,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_use_lifo=True,  # few connections are busy, rather than all of them a little
        hide_parameters=True,  # an error of a handler's SQL is kept and shown, and its values may be masked ones
        pool_recycle=600,  # managed PostgreSQL drains connections after ten minutes
        connect_args=arguments,
    )
    make_savepoints_cheap(engine)
    event.listen(engine, "checkin", _returned)
    event.listen(engine, "checkout", _taken)
    return ForkSafety(alone=False).guard(engine)


def _returned(_: Any, record: Any) -> None:
    record.info["events_returned"] = time.monotonic()


def _taken(connection: Any, record: Any, _: Any) -> None:
    """Ask a connection that has been idle for a while whether it lives; with each use it would cost a round trip."""
    if time.monotonic() - record.info.get("events_returned", time.monotonic()) < _ASK_AFTER:
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except psycopg.Error as error:
        raise DisconnectionError from error  # the pool hands out another


def _set_up_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # we begin transactions ourselves, see below
    for pragma in (f"busy_timeout = {_BUSY_TIMEOUT}", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    deadline = time.monotonic() + _BUSY_TIMEOUT / 1000
    while True:  # a new file is switched to WAL by the first to open it; the busy timeout doesn't cover that
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _begin_sqlite(connection: Connection) -> None:
    # Two transactions that read first and write later can't both go on; who takes the lock at once can only wait.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("eager") else "BEGIN")


@contextmanager
def transaction(engine: Engine, *, eager: bool = True) -> Iterator[Connection]:
    """A transaction, committed when the block ends without an error. `eager` takes SQLite's write lock at once."""
    with engine.connect() as connection:
        if eager:
            connection = connection.execution_options(eager=True)
        with connection.begin() as begun:
            try:
                yield connection
            except BaseException:
                _roll_back(connection, begun)
                raise


def _roll_back(connection: Connection, begun: RootTransaction) -> None:
    """Roll back, even if a time limit cut in while the database was at work: then that work is cancelled first."""
    if not begun.is_active:
        return
    try:
        begun.rollback()
    except DBAPIError:  # "another command is already in progress", which is not what went wrong
        with suppress(Exception):
            driver: Any = connection.connection.driver_connection
            driver.cancel_safe(timeout=_CANCEL_WITHIN)
        connection.invalidate()


@contextmanager
def look(engine: Engine) -> Iterator[Connection]:
    """A connection for statements that need no transaction around them: a third of the round trips.

    On PostgreSQL each is a transaction of its own. On SQLite it is for reading only.
    """
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        yield connection


def now_plus(connection: Connection, delay: timedelta = timedelta(0)) -> ColumnElement[datetime]:
    """The time `delay` from now. PostgreSQL's own clock, so that machines need not agree; on SQLite there is one."""
    if connection.dialect.name == "sqlite":
        return literal(datetime.now(UTC) + delay, UtcDateTime)
    # Not clock_timestamp(): what changes while a statement runs can't be looked up in an index.
    return func.statement_timestamp() + literal(delay) if delay else func.statement_timestamp()


def moment(dialect: str, after: str = "") -> ColumnElement[datetime]:
    """`now_plus` for a statement that is built once: `after` names the parameter for the delay; see `moments`."""
    if dialect == "sqlite":
        return bindparam(after or "now", type_=UtcDateTime)
    return func.statement_timestamp() + bindparam(after, type_=Interval) if after else func.statement_timestamp()


def moments(dialect: str, **delays: timedelta) -> dict[str, Any]:
    """The parameters of a statement with such moments."""
    if dialect == "sqlite":
        now = datetime.now(UTC)
        return {"now": now} | {name: now + delay for name, delay in delays.items()}
    return delays


def relaxed_commit(connection: Connection) -> None:
    """This transaction need not reach the disk before its commit returns.

    Only for writes whose loss a crash of the database makes harmless: a claim or a lease that is forgotten leaves the
    delivery `sent` or with an older lease, and the relay gives it out again.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")


def is_relaxed() -> ColumnElement[bool]:
    """Always true; to be part of a statement that is a transaction of its own, for which it does `relaxed_commit`."""
    return select(func.set_config("synchronous_commit", "off", literal(True))).scalar_subquery() == "off"


def is_away(error: BaseException) -> bool:
    """The database can't be reached, is going down or has no room: it failed, not the statement."""
    if isinstance(error, PoolExhausted):
        return True
    if not isinstance(error, DBAPIError) or error.orig is None:
        return False
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, psycopg.OperationalError):
        return error.orig.sqlstate is None or error.orig.sqlstate.startswith(_AWAY)
    text = str(error.orig)
    return isinstance(error.orig, sqlite3.OperationalError) and any(words in text for words in _SQLITE_AWAY)


def is_contention(error: BaseException) -> bool:
    """Two transactions got in each other's way: deadlock, serialization failure, locked SQLite file."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return False
    text = str(error.orig)
    return getattr(error.orig, "sqlstate", None) in _CONTENTION or "database is locked" in text or "is busy" in text
