"""Engines of asyncio: one for each event loop, made when a handler on that loop first needs it.

The connections of such an engine belong to its loop. So an engine is never made before a fork, nor shared by threads.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DisconnectionError

from events.errors import ConfigurationError
from events.settings import Settings, ledger_url
from events.store.awaited.asyncpg_options import beyond_asyncpg
from events.store.awaited.lazily import begin_sqlite
from events.store.database.availability import watch as watch_errors
from events.store.database.engine import ASK_AFTER, BUSY_TIMEOUT, LET_IT_NOTICE, keep_clean, psycopg_arguments

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_DISPOSE_WITHIN = 5.0  # seconds


class AsyncEngines:
    """The engines of this process, by event loop. Each has at most EVENTS_ASYNC_CONNECTIONS connections."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engines: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncEngine] = WeakKeyDictionary()
        self._keepers: set[asyncio.Task[None]] = set()
        self.most = settings.async_connections

    def here(self) -> "AsyncEngine":
        """The engine of the running loop."""
        loop = asyncio.get_running_loop()
        engine = self._engines.get(loop)
        if engine is None:
            engine = self._engines[loop] = make_async_engine(self._settings)
            keeper = loop.create_task(_dispose_at_end(engine), name="events-async-engine")
            self._keepers.add(keeper)  # or it would be collected as garbage
            keeper.add_done_callback(self._keepers.discard)
        return engine

    def close(self) -> None:
        """Close all connections that are not in use. Not for a thread that runs one of the loops."""
        self._engines = WeakKeyDictionary()
        for keeper in tuple(self._keepers):
            loop, ended = keeper.get_loop(), threading.Event()
            if loop.is_running():
                keeper.add_done_callback(partial(_set, ended))
                loop.call_soon_threadsafe(_cancel_once, keeper)
                ended.wait(_DISPOSE_WITHIN)


def _cancel_once(task: "asyncio.Task[None]") -> None:
    if not task.cancelling():  # another time would interrupt it while it closes connections
        task.cancel()


def _set(event: threading.Event, _: object) -> None:
    event.set()


async def _dispose_at_end(engine: "AsyncEngine") -> None:
    """Close the connections when the loop ends, which cancels its tasks."""
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await engine.dispose()


def driver_of(settings: Settings) -> str:
    """The driver of asyncio: psycopg, asyncpg or aiosqlite."""
    if ledger_url(settings.database_url).get_backend_name() == "sqlite":
        return "aiosqlite"
    return settings.url_driver or settings.async_driver


def check_driver(settings: Settings) -> None:
    """Raise ConfigurationError, with the cure, if what AsyncSession needs is not installed, or asyncpg can't connect as
    the URL says."""
    driver = driver_of(settings)
    for module, extra in (("greenlet", "asyncio"), (driver, driver)):
        if find_spec(module) is None:
            raise ConfigurationError(
                f"handlers that ask for an AsyncSession or AsyncConnection need {module}, which is not installed: "
                f"pip install 'celery-domain-events[{extra}]'"
            )
    if driver == "asyncpg" and (option := beyond_asyncpg(ledger_url(settings.database_url).query)):
        cure = "postgresql://... without EVENTS_ASYNC_DRIVER" if settings.url_driver else "no EVENTS_ASYNC_DRIVER"
        raise ConfigurationError(
            f"EVENTS_DATABASE_URL says {option}=..., which asyncpg can't do; take it out, or write {cure}, which means "
            f"psycopg"
        )


def make_async_engine(settings: Settings) -> "AsyncEngine":
    """An engine of asyncio for EVENTS_DATABASE_URL, whose connections are set up and watched as the ledger's are."""
    from sqlalchemy.ext.asyncio import create_async_engine  # here: it needs greenlet, which few processes need

    driver, url = driver_of(settings), ledger_url(settings.database_url)
    is_sqlite = driver == "aiosqlite"
    options: dict[str, Any] = {} if is_sqlite else {"isolation_level": "READ COMMITTED", "pool_recycle": 600}
    engine = create_async_engine(
        url.set(drivername=f"{url.get_backend_name()}+{driver}"),
        pool_size=settings.async_connections,
        max_overflow=0,
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={"async_creator_fn": _creator(driver, settings), **_arguments(driver, settings)},
        **options,
    )
    sync = engine.sync_engine
    watch_errors(sync)
    event.listen(sync, "connect", _set_up_sqlite if is_sqlite else _set_up_postgres(settings))
    if is_sqlite:
        event.listen(sync, "begin", begin_sqlite)
    else:
        event.listen(sync, "checkin", _returned)
        event.listen(sync, "checkout", _ask(sync))
    if driver == "asyncpg":
        event.listen(sync, "before_cursor_execute", _see)
        event.listen(sync, "checkin", _close_if_open)
    keep_clean(sync)
    return engine


def _creator(driver: str, settings: Settings) -> Callable[..., Any]:
    if driver == "aiosqlite":
        from events.store.awaited.aiosqlite import connect

        return connect
    if driver == "psycopg":
        from events.store.awaited.psycopg import WatchedAsyncPostgres

        return WatchedAsyncPostgres.connect
    from events.store.awaited.asyncpg import connect as connect_asyncpg

    url = ledger_url(settings.database_url)
    # Behind PgBouncer in transaction mode the next statement may run on another connection.
    options: dict[str, Any] = {} if settings.listen else {"statement_cache_size": 0}
    return lambda *_, **__: connect_asyncpg(url, **options)


def _arguments(driver: str, settings: Settings) -> dict[str, Any]:
    """What SQLAlchemy and the driver take beside the URL."""
    if driver == "psycopg":
        return psycopg_arguments(ledger_url(settings.database_url), settings)
    if driver == "asyncpg" and not settings.listen:
        return {"prepared_statement_cache_size": 0, "prepared_statement_name_func": lambda: f"__asyncpg_{uuid4()}__"}
    return {}


def _set_up_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # we begin transactions ourselves; the file is in WAL mode by now
    for pragma in (f"busy_timeout = {BUSY_TIMEOUT}", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _set_up_postgres(settings: Settings) -> Callable[[Any, Any], None]:
    """A listener for new connections: see `session_settings` and, for keepalives, `engine`."""
    wanted = ["SET DateStyle = 'ISO'"]
    if settings.listen:
        wanted += ["SET default_transaction_isolation = 'read committed'", *LET_IT_NOTICE.split("; ")]

    def set_up(connection: Any, _: Any) -> None:
        for statement in wanted:
            try:
                connection.execute(statement).close()
                connection.commit()
            except connection.dbapi.Error:  # the database knows no keepalives
                connection.rollback()
        connection.driver_connection.watch.pooled = not settings.listen  # from now on: a pooler may be in between

    return set_up


def _returned(_: Any, record: Any) -> None:
    record.info["events_returned"] = time.monotonic()


def _ask(engine: Engine) -> Callable[[Any, Any, Any], None]:
    """A listener that asks a connection that was idle for a while whether it lives, as that of the sync engine."""

    def taken(connection: Any, record: Any, _: Any) -> None:
        if time.monotonic() - record.info.get("events_returned", time.monotonic()) < ASK_AFTER:
            return
        try:
            engine.dialect.do_ping(connection)
            connection.rollback()
        except connection.dbapi.Error as error:
            raise DisconnectionError from error  # the pool hands out another

    return taken


def _close_if_open(connection: Any, record: Any) -> None:
    """Close a connection that is still in a transaction. SQLAlchemy forgets it when an end of it was refused."""
    if connection is not None and connection.driver_connection.is_in_transaction():
        record.invalidate()


def _see(connection: Connection, _: Any, statement: str, parameters: Any, __: Any, ___: bool) -> None:
    """Let asyncpg's connection see a statement that SQLAlchemy may have prepared already."""
    adapted: Any = connection.connection.dbapi_connection
    adapted.run_async(lambda driver: driver.see(statement, parameters))
