"""Tells an error of a database that is away from the error of a statement or a handler.

A handler may have engines of its own, whose errors don't concern the ledger. So the ledger's engine marks the errors
that it raises, and a marked error is found however deeply a handler has wrapped it. docs/outages.md says where the line
is.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

# So many attempts of a delivery may be cut short without being counted. If the database answers others, the handler
# itself may break its connection each time, and has to end; if it answers nobody, the handler may break the server each
# time.
SUSPECTED, AWAY = 8, 100

_MARK, _LOST = "events_of_ledger", "events_connection_lost"
_FULL, _READ_ONLY = ("53100",), "25006"
_SQLSTATES = ("08", "531", "532", "533", "57P", "58000", "58030", _READ_ONLY)  # codes, or their beginnings
_LOCKED = "55P03"
_CONTENTION = {"40001", "40P01", _LOCKED}  # serialization failure, deadlock, lock not available
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SQLITE_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_SQLITE_AWAY = _SQLITE_FULL | {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL}
_PROBE_WITHIN = 5  # seconds


class PoolExhausted(PoolTimeout):
    """All connections of our own pool are in use, and none came back in time. No statement was sent."""


def watch(engine: Engine) -> None:
    """Mark the errors that this engine raises. A database that became read-only is left: the primary is elsewhere."""

    def handle(context: Any) -> None:
        mark(context.sqlalchemy_exception or context.original_exception)
        if _sqlstate(context.original_exception) == _READ_ONLY:
            context.is_disconnect = True  # ends this connection, and all that the pool has opened before
        if context.is_disconnect and context.connection is not None:
            setattr(context.connection, _LOST, True)

    event.listen(engine, "handle_error", handle)
    setattr(engine, _MARK, True)


def seen_by_driver(connection: Connection, error: BaseException) -> None:
    """Do the same as `watch` for the error of a statement that was sent past SQLAlchemy."""
    if getattr(connection.engine, _MARK, False):
        mark(error)
        if _sqlstate(getattr(error, "orig", None)) == _READ_ONLY:
            connection.engine.dispose()


def mark(error: BaseException, *, lost: bool = False) -> None:
    """Note that this error came from the ledger. `lost`: its connection is broken, whatever the error says."""
    with suppress(Exception):  # its class may take no attributes
        setattr(error, _LOST if lost else _MARK, True)


def mark_if_lost(error: BaseException, connection: Connection) -> None:
    """Mark a handler's error as lost if the handler's connection is gone."""
    with suppress(Exception):
        lost = getattr(connection, _LOST, False)  # False if we invalidated it for a handler's fault
        if lost or (not connection.invalidated and getattr(connection.connection.driver_connection, "closed", False)):
            mark(error, lost=True)


def is_away(error: BaseException) -> bool:
    """Whether the ledger can't be reached, shuts down, has no room or is read-only, or the pool is exhausted."""
    return any(
        getattr(one, _LOST, False) or (getattr(one, _MARK, False) and _looks_away(one)) for one in _all_of(error)
    )


def is_contention(error: BaseException) -> bool:
    """Whether two transactions collided: a deadlock, a serialization failure, a locked SQLite file."""
    if isinstance(error, DBAPIError):
        driver: BaseException | None = error.orig
    else:  # an error of our connection, which a framework's cursor met; or the framework's own, because of it
        driver = next((one for one in (error, error.__cause__) if getattr(one, _MARK, False)), None)
    return _sqlstate(driver) in _CONTENTION or bool(_sqlite_codes(driver) & _BUSY)


def is_read_only(error: DBAPIError) -> bool:
    """Whether the database refused to write, as a standby does; nothing of the transaction is stored."""
    return _sqlstate(error.orig) == _READ_ONLY


def is_locked(error: DBAPIError) -> bool:
    """Whether a lock was not had within the lock timeout."""
    return _sqlstate(error.orig) == _LOCKED


def pardons(engine: Engine, error: BaseException) -> int:
    """See events.ledger.Inbox.pardons."""
    ours = is_away(error) or any(getattr(one, _MARK, False) and is_contention(one) for one in _all_of(error))
    if not ours and not any(_looks_away(one) for one in _all_of(error)):
        return 0
    no_room = any(_is_full(one) or isinstance(one, PoolExhausted) for one in _all_of(error))
    if (ours and no_room) or not _answers(engine):
        return AWAY
    return SUSPECTED if ours else 0


def _looks_away(error: BaseException) -> bool:
    """Whether this error of any library means that some database is away; it doesn't say which."""
    if isinstance(error, PoolTimeout):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or (error.orig is not None and _looks_away(error.orig))
    state = _sqlstate(error)
    if state is None:
        return isinstance(error, psycopg.OperationalError) or bool(_sqlite_codes(error) & _SQLITE_AWAY)
    return state.startswith(_SQLSTATES)


def _is_full(error: BaseException) -> bool:
    original = getattr(error, "orig", None)
    return _sqlstate(original) in _FULL or bool(_sqlite_codes(original) & _SQLITE_FULL)


def _answers(engine: Engine) -> bool:
    """Whether the database accepts a new connection that may write."""
    try:
        if engine.dialect.name == "sqlite":
            with closing(sqlite3.connect(str(engine.url.database), timeout=0, isolation_level=None)) as file:
                file.execute("BEGIN IMMEDIATE")
                file.execute("ROLLBACK")
            return True
        arguments, keywords = engine.dialect.create_connect_args(engine.url)
        within: dict[str, Any] = {"connect_timeout": _PROBE_WITHIN, "application_name": "events"}
        with closing(psycopg.connect(*arguments, **(dict(keywords) | within), autocommit=True)) as connection:
            (read_only,) = connection.execute("SHOW transaction_read_only").fetchone() or ("on",)
            return bool(read_only == "off")
    except (psycopg.Error, sqlite3.Error, OSError):
        return False


def _all_of(error: BaseException) -> Iterator[BaseException]:
    """The error, its causes and contexts, and the members of exception groups."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def _sqlstate(error: object) -> str | None:
    """The SQLSTATE, which psycopg, asyncpg and psycopg2 name differently."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return state if isinstance(state, str) else None


def _sqlite_codes(error: object) -> set[int]:
    """The primary codes of SQLite's errors; none for another database, or before there is a connection."""
    code = getattr(error, "sqlite_errorcode", None) if isinstance(error, sqlite3.Error) else None
    return set() if code is None else {code & 0xFF}
