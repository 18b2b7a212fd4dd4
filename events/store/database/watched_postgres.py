"""psycopg's connection and cursors, watched, whose statements take along what waits; see `riding`."""

from types import ModuleType
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from events.publishing import running
from events.store.database.riding import Carrier, TakingCursor
from events.store.database.statement_effects import Touch
from events.store.database.watched_connections import Watch, Watched


class WatchedCursor(TakingCursor):
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


class WatchedPostgres(Carrier, Watched):
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
        self.send_waiting()
        if self.watch.handler is not None and self.pgconn.transaction_status == TransactionStatus.IDLE:
            self.execute("SAVEPOINT events_begun")  # otherwise the end of the savepoint would commit the transaction
        return super().transaction(*arguments, **options)


class _WatchedPsycopg(ModuleType):
    """psycopg, except that its connections are watched. For create_engine(module=...)."""

    connect = WatchedPostgres.connect

    def __getattr__(self, name: str) -> Any:
        return getattr(psycopg, name)


PSYCOPG = _WatchedPsycopg(psycopg.__name__)
