"""The delivery's transaction while a handler uses it, and the ledger's own statements in it afterwards."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError

from events.errors import TransactionMisused
from events.store.database.driver import execute_by_driver
from events.store.database.statement_effects import Touch
from events.store.database.watched_connections import Watch, shown, watch_of

# A handler's connection.execution_options(...) change the connection in place; our statements need the old ones.
OURS: dict[str, Any] = {"yield_per": None, "stream_results": False, "schema_translate_map": None}


@contextmanager
def lent(connection: Connection, handler: str) -> Iterator[Callable[[], bool]]:
    """While the block runs, a handler uses the transaction and must not end it: effects and outcome commit together."""
    watch, options = watch_of(connection), connection.get_execution_options()
    if watch is not None:
        watch.handler = handler
    allow = refuse_commits(connection, handler)
    try:
        yield (
            lambda: (
                connection.get_execution_options() != options
                or (watch is not None and watch.touched is not Touch.NOTHING)
            )
        )
    finally:
        allow()
        if watch is not None:
            watch.handler = None


def refuse_commits(connection: Connection, handler: str) -> Callable[[], None]:
    """Let commits of this connection fail until the function is called that is returned."""

    def refuse(_: Connection) -> None:
        connection.invalidate()  # closes the connection: whatever the handler does now, the database has rolled back
        raise TransactionMisused(
            f"handler {handler!r} tried to commit the delivery's own transaction; leave it open: it is committed "
            f"together with the delivery's outcome when the handler returns"
        )

    event.listen(connection, "commit", refuse)
    return lambda: event.remove(connection, "commit", refuse)


def settle(connection: Connection) -> None:
    """Check the handler's deferred constraints; then restore the role and settings for our own statements."""
    watch = _touched(connection)
    if watch is not None:
        execute_by_driver(connection, "SET CONSTRAINTS ALL IMMEDIATE")
        _set(connection, watch.settings)


@contextmanager
def as_ourselves(connection: Connection) -> Iterator[None]:
    """While the block runs, role and search path are those that the connection had before the handler."""
    watch = _touched(connection)
    if watch is None:
        yield
        return
    theirs = _shown(connection)
    _set(connection, watch.settings)
    try:
        yield
    except BaseException:
        with suppress(DBAPIError):  # the transaction failed; rolling back to a savepoint takes the settings back, too
            _set(connection, theirs)
        raise
    _set(connection, theirs)


def _shown(connection: Connection) -> dict[str, str]:
    if not connection.dialect.is_async:
        return shown(connection.connection.driver_connection)
    adapted: Any = connection.connection.dbapi_connection
    found: dict[str, str] = adapted.run_async(lambda driver: driver.shown())
    return found


def _touched(connection: Connection) -> Watch | None:
    watch = watch_of(connection)
    return watch if watch is not None and watch.touched is not Touch.NOTHING and watch.settings else None


def _set(connection: Connection, settings: dict[str, str]) -> None:
    calls = ", ".join(["pg_catalog.set_config(%s, %s, true)"] * len(settings))
    values = [value for pair in settings.items() for value in pair]
    execute_by_driver(connection, f"SELECT {calls}", values)
