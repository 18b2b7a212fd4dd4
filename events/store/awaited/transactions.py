"""The transaction of a delivery on an event loop: what a handler does in it is committed together with its outcome."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.util import greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

from events.ledger import Claim
from events.store.awaited.engines import AsyncEngines
from events.store.awaited.lazily import lazy_connection
from events.store.database.availability import mark_if_lost
from events.store.database.lent_transaction import refuse_commits
from events.store.database.statement_effects import Touch
from events.store.database.watched_connections import watch_of

if TYPE_CHECKING:
    pass

Answer = TypeVar("Answer")
Succeed = Callable[[Connection, Sequence[Claim]], None]


class AwaitedTransaction:
    """Keeps the contract of events.ledger.Awaited.

    Args:
        names: the effects of names in this database; see `pg_catalog`.
        succeed: writes the successes.
    """

    def __init__(
        self, engines: AsyncEngines, handler: str, names: Mapping[str, Touch], succeed: Succeed, *, eager: bool
    ) -> None:
        from sqlalchemy.ext.asyncio import AsyncConnection

        self._succeed = succeed
        engine = engines.here()
        self.connection, self._pooled = lazy_connection(
            engine.sync_engine, handler, names, eager=eager, most=engines.most
        )
        self._begun = self.connection.get_transaction()
        self._allow: Callable[[], None] | None = refuse_commits(self.connection, handler)
        self.for_handler: AsyncConnection = AsyncConnection(engine, self.connection)

    @property
    def is_used(self) -> bool:
        return self._pooled.is_taken

    @property
    def is_whole(self) -> bool:
        connection = self.connection
        is_open = not (connection.closed or connection.invalidated)
        return is_open and connection.get_transaction() is self._begun and connection.in_transaction()

    @staticmethod
    def is_within() -> bool:
        return in_greenlet()

    async def run(self, work: Callable[[], Answer]) -> Answer:
        return await greenlet_spawn(work)

    async def commit(self, claims: Sequence[Claim]) -> None:
        def commit() -> None:
            self._give_back()
            self._succeed(self.connection, claims)
            self.connection.commit()

        await greenlet_spawn(commit)

    async def end(self, error: BaseException | None = None) -> None:
        def end() -> None:
            self._give_back()
            if error is not None and self._pooled.is_taken:
                mark_if_lost(error, self.connection)
            try:
                self.connection.close()
            except SQLAlchemyError:  # the error to report is the first one
                self._pooled.invalidate()
            finally:
                self._pooled.close()

        await greenlet_spawn(end)

    def _give_back(self) -> None:
        """The handler has the transaction no more."""
        if self._allow is not None:
            self._allow()
            self._allow = None
            if self._pooled.is_taken and self._pooled.is_valid:
                watch = watch_of(self.connection)
                if watch is not None:
                    watch.handler = None
