"""Makes the engine, and hides the few differences between SQLite and PostgreSQL."""

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import (
    URL,
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

from events.settings import SQLITE_WAITS, Settings, ledger_url
from events.store.database.availability import is_away as is_away
from events.store.database.availability import is_contention as is_contention
from events.store.database.availability import mark_if_lost
from events.store.database.availability import watch as watch_errors
from events.store.database.files import make_private
from events.store.database.forking import ForkSafety
from events.store.database.pools import SPARE, LedgerPool
from events.store.database.savepoints import make_savepoints_cheap
from events.store.database.session_settings import set_up_session
from events.store.database.statement_effects import Touch
from events.store.database.types import UtcDateTime
from events.store.database.url_options import check_options
from events.store.database.watched_connections import Watched
from events.store.database.watched_postgres import PSYCOPG
from events.store.database.watched_sqlite import WatchedSqlite

log = logging.getLogger("events.store")

_CANCEL_WITHIN = 2.0  # seconds
ASK_AFTER = 5.0  # seconds
BUSY_TIMEOUT = int(SQLITE_WAITS.total_seconds() * 1000)  # ms that a writer waits for another on SQLite

# If the other machine vanishes without a word, that is noticed within seconds, not hours: by us, who wait for the
# database, and by the database, which keeps our row locks until then.
_IDLE, _INTERVAL, _COUNT, _UNANSWERED = 10, 5, 3, 15_000  # seconds, seconds, probes, ms
_NOTICE_ITS_END = {
    "keepalives_idle": _IDLE,
    "keepalives_interval": _INTERVAL,
    "keepalives_count": _COUNT,
    "tcp_user_timeout": _UNANSWERED,
}
LET_IT_NOTICE = "; ".join(
    f"SET {name} = {value}"
    for name, value in {
        "tcp_keepalives_idle": _IDLE,
        "tcp_keepalives_interval": _INTERVAL,
        "tcp_keepalives_count": _COUNT,
        "tcp_user_timeout": _UNANSWERED,
    }.items()
)


def make_engine(settings: Settings, connections: tuple[int, int] | None = None) -> Engine:
    """An engine for EVENTS_DATABASE_URL. Connects when first used.

    Args:
        connections: the number that is kept open, and the number that may be opened beyond.
    """
    pool_size, max_overflow = connections or (settings.pool_size, SPARE)
    url = ledger_url(settings.database_url)
    check_options(url)
    if settings.database_url.startswith("sqlite"):
        safety = ForkSafety(alone=True)
        engine = create_engine(
            url,
            poolclass=safety.pool_class,
            pool_size=pool_size,
            max_overflow=max_overflow,
            hide_parameters=True,
            connect_args={"factory": WatchedSqlite},
        )
        event.listen(engine, "do_connect", make_private)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", begin_sqlite)
        make_savepoints_cheap(engine)
        watch_errors(engine)
        keep_clean(engine)
        return safety.guard(engine)
    engine = create_engine(
        url,
        module=PSYCOPG,
        poolclass=LedgerPool,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_use_lifo=True,  # few connections are busy, rather than all of them a little
        hide_parameters=True,  # errors of a handler's SQL are stored and shown; their values may be masked fields
        pool_recycle=600,  # managed PostgreSQL drains connections after ten minutes
        connect_args=psycopg_arguments(url, settings),
        isolation_level="READ COMMITTED",  # whatever the role's default is: claims rely on it
    )
    make_savepoints_cheap(engine)
    watch_errors(engine)
    event.listen(engine, "connect", set_up_session(alone=settings.listen))
    if settings.listen:
        event.listen(engine, "connect", _let_the_server_notice)
    event.listen(engine, "checkin", _returned)
    event.listen(engine, "checkout", _taken)
    keep_clean(engine)
    return ForkSafety(alone=False).guard(engine)


def psycopg_arguments(url: URL, settings: Settings) -> dict[str, Any]:
    """The arguments with which psycopg connects, beside those of the URL."""
    arguments: dict[str, Any] = {
        "connect_timeout": 10,
        "application_name": "events",
        "client_encoding": "utf8",
    } | _NOTICE_ITS_END
    if not settings.listen:  # PgBouncer in transaction mode: the next statement may run on another connection
        arguments["prepare_threshold"] = None
    return {name: value for name, value in arguments.items() if name not in url.query}


def keep_clean(engine: Engine) -> None:
    """Close a connection that a handler left with a setting, a role or a temporary table."""

    @event.listens_for(engine, "checkout")
    def taken(connection: Any, record: Any, _: Any) -> None:
        driver = getattr(connection, "driver_connection", connection)  # of asyncio, below SQLAlchemy's adapter
        if isinstance(driver, Watched):
            driver.watch.fresh()
            record.info["events_attributes"] = driver.attributes()

    @event.listens_for(engine, "checkin")
    def returned(connection: Any, record: Any) -> None:
        driver = getattr(connection, "driver_connection", connection)
        if isinstance(driver, Watched):  # a closed one is none
            touched = driver.watch.touched is Touch.CONNECTION
            if touched or record.info.get("events_attributes") != driver.attributes():
                record.invalidate()


def _let_the_server_notice(connection: Any, _: object) -> None:
    """The database's side of _NOTICE_ITS_END. It is a SET, since poolers refuse such start-up options."""
    before, connection.autocommit = connection.autocommit, True
    try:
        connection.execute(LET_IT_NOTICE)
    except psycopg.Error as error:
        if connection.closed:
            raise
        log.info("the database knows no keepalives: %s", error)
    finally:
        if not connection.closed:
            connection.autocommit = before


def _returned(_: Any, record: Any) -> None:
    record.info["events_returned"] = time.monotonic()


def _taken(connection: Any, record: Any, _: Any) -> None:
    """Ask a connection that was idle for a while whether it lives; asking at each use would cost a round trip."""
    if time.monotonic() - record.info.get("events_returned", time.monotonic()) < ASK_AFTER:
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except psycopg.Error as error:
        raise DisconnectionError from error  # the pool hands out another


def _set_up_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # we begin transactions ourselves, see below
    for pragma in (f"busy_timeout = {BUSY_TIMEOUT}", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    deadline = time.monotonic() + BUSY_TIMEOUT / 1000
    while True:  # a new file is switched to WAL by the first to open it; the busy timeout doesn't cover that
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def begin_sqlite(connection: Connection) -> None:
    # Of two transactions that read first and write later, one fails; one that takes the lock at once only waits.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("eager") else "BEGIN")


@contextmanager
def transaction(engine: Engine, *, eager: bool = True, **options: Any) -> Iterator[Connection]:
    """A transaction, committed when the block ends without an error.

    Args:
        eager: take SQLite's write lock at once.
        options: execution options of its connection.
    """
    with engine.connect() as connection:
        if eager:
            options["eager"] = True
        if options:
            connection = connection.execution_options(**options)
        with connection.begin() as begun:
            try:
                yield connection
            except BaseException as error:
                mark_if_lost(error, connection)
                _roll_back(connection, begun)
                raise


def _roll_back(connection: Connection, begun: RootTransaction) -> None:
    """Roll back, even if a time limit interrupted a running statement: that statement is cancelled first."""
    if not begun.is_active:
        return
    try:
        begun.rollback()
    except DBAPIError:  # "another command is already in progress": the error to report is the first one
        with suppress(Exception):
            driver: Any = connection.connection.driver_connection
            driver.cancel_safe(timeout=_CANCEL_WITHIN)
        connection.invalidate()


@contextmanager
def look(engine: Engine) -> Iterator[Connection]:
    """A connection for statements that need no transaction around them: a third of the round trips.

    On PostgreSQL each statement is a transaction of its own, and sees the ledger as it is by then: for numbers that
    have to agree see `snapshots`. On SQLite the connection is for reading only.
    """
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        yield connection


def now_plus(connection: Connection, delay: timedelta = timedelta(0)) -> ColumnElement[datetime]:
    """The time `delay` from now, by PostgreSQL's own clock, so that machines need not agree; SQLite has one machine."""
    if connection.dialect.name == "sqlite":
        return literal(datetime.now(UTC) + delay, UtcDateTime)
    # Not clock_timestamp(): a value that changes while a statement runs can't be looked up in an index.
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
    """Let this transaction's commit return before it is on disk.

    Only for writes that may get lost when the database crashes: a delivery whose claim or lease is forgotten is `sent`,
    or has an older lease, and the relay gives it out again.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")


def is_relaxed() -> ColumnElement[bool]:
    """Always true: a condition that does `relaxed_commit` for a statement that is a transaction of its own."""
    return select(func.set_config("synchronous_commit", "off", literal(True))).scalar_subquery() == "off"


def is_patient(seconds: str) -> ColumnElement[bool]:
    """Always true, as `is_relaxed`: the statement waits for a lock for the time given, such as "5s", and then fails."""
    return select(func.set_config("lock_timeout", seconds, literal(True))).scalar_subquery() == seconds
