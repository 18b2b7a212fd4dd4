"""One call of an `async def` handler on an event loop, in a transaction of its own."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from enum import Enum
from typing import Any

from sqlalchemy import Connection

from events.delivery.calling import call_awaited
from events.delivery.provided import Provided
from events.delivery.session import HandlerSession, handler_session
from events.delivery.transaction import Calls, arguments_of, ended_by, giving
from events.event import DomainEvent
from events.handling import ASYNC_SQL, Handler, Wanted
from events.ledger import Awaited, Claim
from events.publishing import RunningOnLoop, RunningWithoutSql, connection_of, running


class Cut(Enum):
    """Why a handler was cancelled."""

    TIME_LIMIT = "it ran over its time limit, which is its failure"
    INTERRUPTED = "through no fault of its own: the delivery is handed back"


class Call:
    """A call of a handler, for one delivery or a batch of them. It runs as a task with a context of its own.

    Attributes:
        transaction: the delivery's own; None if the handler asks for none.
        session: the handler's, which has to be told how the transaction ended.
        kept: write the events that a handler without a transaction has published.
        error: why it failed; None if all went well.
        cut: why it was cancelled; None if it wasn't.
        since: when it began, by the loop's clock.
    """

    def __init__(
        self, handler: Handler, claims: Sequence[Claim], events: Sequence[DomainEvent], transaction: Awaited | None
    ) -> None:
        self.handler = handler
        self.claims = claims
        self.transaction = transaction
        self.session: HandlerSession | None = None
        self.kept: Sequence[Callable[[Connection], None]] = ()
        self.error: BaseException | None = None
        self.cut: Cut | None = None
        self.since = asyncio.get_running_loop().time()
        self._events = events
        self._context: Context = copy_context()
        self._task: asyncio.Task[BaseException | None] | None = None

    async def run(self, calls: Calls, limit: float) -> None:
        """Call the handler. Its changes are flushed, and not committed.

        Args:
            limit: the seconds after which it is cancelled.
        Raises:
            TransactionMisused: the handler ended the transaction.
            asyncio.CancelledError: it was cut off, or cancelled itself.
            Exception: every error that the handler raises.
        """
        loop = asyncio.get_running_loop()
        name = f"{self.handler.name} {self.claims[0].envelope.id}"
        self._task = loop.create_task(self._guarded(calls), name=name, context=self._context)
        timer = loop.call_later(limit, self.cut_off, Cut.TIME_LIMIT)
        try:
            error = await self._task
        finally:
            timer.cancel()
        if error is not None:
            raise error

    @property
    def coroutine(self) -> Any:
        """The coroutine that runs; None before it begins."""
        return self._task.get_coro() if self._task is not None else None

    def cut_off(self, why: Cut) -> None:
        """Cancel the handler: CancelledError is raised where it awaits. On the loop only."""
        if self._task is not None and not self._task.done():
            self.cut = self.cut or why
            self._task.cancel()

    def over(self, *, committed: bool) -> None:
        """The transaction has ended: let the session's hooks know, in the handler's context."""
        if self.session is not None:
            self._context.run(self.session.over, committed=committed)

    async def _guarded(self, calls: Calls) -> BaseException | None:
        """Raises errors, but returns those that would end the loop if a task raised them."""
        try:
            with calls.around(self.handler, self.claims):
                await self._call(calls.provided)
        except (SystemExit, KeyboardInterrupt) as error:
            return error
        return None

    async def _call(self, provided: Provided) -> None:
        handler, transaction = self.handler, self.transaction
        event = self._events[0] if len(self._events) == 1 else None
        given: dict[Wanted, Any] = {}
        delivery: RunningOnLoop | RunningWithoutSql
        if transaction is None:
            delivery = RunningWithoutSql(handler.name, event)
            self.kept = delivery.kept
        else:
            given = self._sql(transaction)
            delivery = RunningOnLoop(handler.name, event, transaction, self._connection, lambda: self.session)
        running.set(delivery)  # in the task's own context, which ends with it
        try:
            function = provided.call_of(handler, giving(handler, self.claims, self._events, given))
            await call_awaited(function, arguments_of(handler, self.claims, self._events, given), handler.name)
            if transaction is not None:
                if not transaction.is_whole:
                    raise ended_by(handler)
                if isinstance(delivery, RunningOnLoop) and delivery.kept:
                    await transaction.run(delivery.write_kept)
                if self.session is not None:
                    await transaction.run(self.session.finish)
        finally:
            await delivery.end()

    def _connection(self) -> Connection:
        assert self.transaction is not None
        return connection_of(self.session) if self.session is not None else self.transaction.connection

    def _sql(self, transaction: Awaited) -> dict[Wanted, Any]:
        """What the handler gets of its transaction."""
        given: dict[Wanted, Any] = {Wanted.ASYNC_CONNECTION: transaction.for_handler}
        if Wanted.ASYNC_SESSION in self.handler.needs.wanted:
            kind: Any = self.handler.needs.async_session

            def make(*_: object, **options: Any) -> HandlerSession:
                session = handler_session(kind.sync_session_class)(transaction.connection, self.handler.name)
                for name in ("autoflush", "expire_on_commit"):  # which the application's class may have its own way
                    if name in options:
                        setattr(session, name, options[name])
                session.info.update(options.get("info") or {})
                self.session = session
                return session

            given[Wanted.ASYNC_SESSION] = kind(sync_session_class=make)
        return given


def wants_sql(handler: Handler) -> bool:
    """Whether the handler, or what is made for it, asks for an AsyncSession or AsyncConnection."""
    return not ASYNC_SQL.isdisjoint(handler.needs.wanted)
