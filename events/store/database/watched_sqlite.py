"""sqlite3's connection and cursor, watched."""

import sqlite3
from typing import Any

from events.store.database.watched_connections import Watched


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
