"""Cursors of a framework's own classes on our connections: what they send is seen, and their errors are the ledger's.

Frameworks convert values in their own way, by classes of cursors and by psycopg's adapters. Neither may reach what
SQLAlchemy reads on the same connection.
"""

import sqlite3
from collections.abc import Callable
from functools import cache
from typing import Any

import psycopg
from psycopg.adapt import AdaptersMap

from events.store.database.availability import mark
from events.store.database.watched_postgres import WatchedCursor, WatchedPostgres, WatchedServerCursor
from events.store.database.watched_sqlite import WatchedSqlite, WatchedSqliteCursor


def cursor_of(driver: Any, kind: Any, adapters: AdaptersMap | None = None, **options: Any) -> Any:
    """A cursor of class `kind` on psycopg's or sqlite3's connection.

    Args:
        adapters: psycopg's adapters for this cursor; None for those of the connection.
        options: for a cursor of psycopg, such as `name`.
    """
    if isinstance(driver, sqlite3.Connection):
        return driver.cursor(_marking(kind, WatchedSqliteCursor) if isinstance(driver, WatchedSqlite) else kind)
    seen: Any = kind
    if isinstance(driver, WatchedPostgres):
        seen = _marking(kind, WatchedServerCursor if issubclass(kind, psycopg.ServerCursor) else WatchedCursor)
    cursor = seen(driver, **options)
    if adapters is not None:
        cursor._adapters = AdaptersMap(adapters)
    return cursor


@cache
def _marking(kind: Any, watched: Any) -> type[Any]:
    """The class `kind`, whose cursors are watched as those of SQLAlchemy are."""

    def marked(name: str) -> Callable[..., Any]:
        original = getattr(both, name)

        def call(self: Any, *arguments: Any, **options: Any) -> Any:
            try:
                return original(self, *arguments, **options)
            except (psycopg.Error, sqlite3.Error) as error:
                mark(error)
                raise

        call.__name__ = name
        return call

    both: type[Any] = type(kind.__name__, (kind, watched), {"__module__": kind.__module__})
    methods = [name for name in ("execute", "executemany", "fetchone", "fetchmany", "fetchall") if hasattr(both, name)]
    return type(kind.__name__, (both,), {"__module__": kind.__module__} | {name: marked(name) for name in methods})
