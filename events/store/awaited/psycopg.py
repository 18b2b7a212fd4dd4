"""psycopg's connections of asyncio, watched as `watched_connections` watches the others."""

from collections.abc import AsyncIterator
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from events.publishing import running
from events.store.database.statement_effects import Touch
from events.store.database.watched_connections import SETTINGS, SHOW, Watch, Watched


class WatchedAsyncPostgres(psycopg.AsyncConnection[Any], Watched):
    """psycopg's connection of asyncio, watched."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.set_up()
        self.cursor_factory, self.server_cursor_factory = _Cursor, _ServerCursor

    async def see(self, statement: Any, values: Any = None) -> None:
        """Called before a statement is sent."""
        before = self.watch.touched
        self.watch.see(self, statement, values)
        await self.remember(before)

    async def remember(self, before: Touch) -> None:
        """Read the settings that our own statements depend on, before a handler changes any."""
        if self.watch.touched and not before and self.watch.handler is not None:
            self.watch.settings = await self.shown()

    async def shown(self) -> dict[str, str]:
        """The present values of the settings that our own statements depend on."""
        found = {}
        try:
            cursor: Any = psycopg.AsyncCursor(self, row_factory=tuple_row)
            await cursor.execute(SHOW, prepare=False)
            for name in SETTINGS:
                found[name] = (await cursor.fetchone())[0]
                cursor.nextset()
        except psycopg.Error:  # the transaction has failed already, and no more statements are sent in it
            return {}
        return found

    async def commit(self) -> None:
        self.guard("commit()")
        if self._is_left_touched():
            await self._go_on_after("COMMIT")
        else:
            await super().commit()

    async def rollback(self) -> None:
        self.guard("rollback()")
        if self._is_left_touched():
            await self._go_on_after("ROLLBACK")
        else:
            await super().rollback()

    def _is_left_touched(self) -> bool:
        return self.watch.pooled and self.watch.touched is Touch.CONNECTION and not self.closed

    async def _go_on_after(self, end: str) -> None:
        """See WatchedPostgres: a pooler must not give this server connection to another client."""
        await self.execute(f"{end}; BEGIN ISOLATION LEVEL READ COMMITTED", prepare=False)

    async def set_autocommit(self, value: bool) -> None:
        self.guard("autocommit")
        await super().set_autocommit(value)

    async def set_read_only(self, value: bool | None) -> None:
        self.guard("read_only")
        await super().set_read_only(value)

    async def set_isolation_level(self, value: Any) -> None:
        if self.watch.handler is not None:
            before = self.watch.touched
            self.watch.touch(self, Touch.CONNECTION, "isolation_level")
            await self.remember(before)
        await super().set_isolation_level(value)

    def transaction(self, *arguments: Any, **options: Any) -> Any:
        if self.watch.handler is not None and self.pgconn.transaction_status == TransactionStatus.IDLE:
            self.watch.refuse(Touch.END, "transaction() before the first statement")
        return super().transaction(*arguments, **options)


class _Cursor(psycopg.AsyncCursor[Any]):
    async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        await _connection_of(self).see(query, params)
        return await super().execute(query, params, **options)

    async def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
        await _connection_of(self).see(query)
        await super().executemany(query, params_seq, **options)

    def copy(self, statement: Any, params: Any = None, **options: Any) -> Any:
        watch: Watch = _connection_of(self).watch
        watch.see(self.connection, statement, params)  # COPY changes no setting
        return super().copy(statement, params, **options)

    async def stream(self, query: Any, params: Any = None, **options: Any) -> AsyncIterator[Any]:
        await _connection_of(self).see(query, params)
        async for row in super().stream(query, params, **options):
            yield row


class _ServerCursor(psycopg.AsyncServerCursor[Any]):
    async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        connection = _connection_of(self)
        await connection.see(query, params)
        if self.withhold and (connection.watch.handler is not None or running.get() is not None):
            before = connection.watch.touched
            connection.watch.touch(connection, Touch.CONNECTION, "a cursor WITH HOLD")
            await connection.remember(before)
        return await super().execute(query, params, **options)


def _connection_of(cursor: "psycopg.AsyncCursor[Any]") -> WatchedAsyncPostgres:
    assert isinstance(cursor.connection, WatchedAsyncPostgres)
    return cursor.connection
