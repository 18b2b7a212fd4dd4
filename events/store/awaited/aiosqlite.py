"""aiosqlite's connections, each a thread around one of sqlite3 that is watched."""

import sqlite3
from typing import Any

import aiosqlite

from events.store.database.watched_connections import Watch, Watched
from events.store.database.watched_sqlite import WatchedSqlite

_ROWS_AT_ONCE = 64  # which aiosqlite fetches while it iterates over a cursor


class WatchedAiosqlite(aiosqlite.Connection, Watched):
    """aiosqlite's connection. The connection of sqlite3 `below` it does the watching."""

    below: WatchedSqlite

    @property
    def watch(self) -> Watch:  # type: ignore[override]
        return self.below.watch

    def attributes(self) -> tuple[Any, ...]:
        return self.below.attributes()


def connect(database: str, **options: Any) -> WatchedAiosqlite:
    """A connection, which connects when it is awaited. `options`: of sqlite3.connect()."""

    def connector() -> sqlite3.Connection:
        connection.below = sqlite3.connect(database, factory=WatchedSqlite, **options)
        return connection.below

    connection = WatchedAiosqlite(connector, _ROWS_AT_ONCE)
    thread: Any = getattr(connection, "_thread", connection)
    thread.daemon = True  # a process that ends doesn't wait for it, as SQLAlchemy has it
    return connection
