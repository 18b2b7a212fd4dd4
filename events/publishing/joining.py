"""The delivery that runs in this context: publish() inside a handler joins the delivery's transaction.

Contexts are copied, to tasks and to threads, and a copy may outlive the handler. It must not join a later delivery.
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Protocol

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from events.errors import PublishError
from events.event import DomainEvent
from events.ledger import Envelope
from events.publishing.held import Write, hold

Append = Callable[[Connection], None]  # writes events in the transaction of a connection


class Running(ABC):
    """A delivery that runs.

    Args:
        event: the event that the handler was called with; None for a batch of several.
    """

    def __init__(self, handler: str, event: DomainEvent | None) -> None:
        self.event = event
        self._handler = handler
        self._has_ended = False

    @abstractmethod
    def write(self, append: Append) -> None:
        """Write events in the delivery's transaction.

        Raises:
            PublishError: the delivery has ended.
        """

    def write_in_time(self, write: Write, rows: Sequence[Envelope]) -> None:
        """Write events in the delivery's transaction: at once, or before it ends where that would block an event loop.

        Raises:
            PublishError: the delivery has ended.
        """
        self.write(lambda connection: write(connection, rows))

    async def run(self, work: Callable[[], None]) -> None:
        """Call code that publishes, from an event loop."""
        work()

    def _check(self) -> None:
        if self._has_ended:
            raise PublishError(
                f"publish() in a task or thread that a delivery of handler {self._handler!r} started, and that "
                f"went on after the delivery: publish() can't join that transaction any more. Publish in the "
                f"handler, or await the task there; or publish in a session of your own (session=...), or in a new "
                f"context (contextvars.Context().run)"
            )


class RunningInThread(Running):
    """A delivery whose connection blocks.

    Args:
        connection: returns the connection that is in the delivery's transaction. It is called for each publish().
    """

    def __init__(self, handler: str, event: DomainEvent | None, connection: Callable[[], Connection]) -> None:
        super().__init__(handler, event)
        self._connection = connection
        self._lock = threading.Lock()

    def write(self, append: Append) -> None:
        with self._lock:  # the delivery doesn't end meanwhile
            self._check()
            append(self._connection())

    def end(self) -> None:
        """The delivery has ended: from now on no publish() joins it."""
        with self._lock:
            self._has_ended = True


class RunningWithoutSql(Running):
    """A delivery of an `async def` handler that has no SQL of its own: its events are written with its outcome."""

    def __init__(self, handler: str, event: DomainEvent | None) -> None:
        super().__init__(handler, event)
        self._lock = threading.Lock()
        self.kept: list[Append] = []

    def write(self, append: Append) -> None:
        with self._lock:
            self._check()
            self.kept.append(append)

    async def end(self) -> None:
        """The delivery has ended: from now on no publish() joins it."""
        with self._lock:
            self._has_ended = True


class OnLoop(Protocol):
    """A transaction on an event loop: see events.ledger.Awaited."""

    @staticmethod
    def is_within() -> bool: ...

    def run(self, work: Callable[[], None]) -> Awaitable[None]: ...


class RunningOnLoop(Running):
    """A delivery of an `async def` handler, with a connection that is awaited.

    Args:
        transaction: runs what uses the connection.
        connection: returns the connection; it is called within `transaction.run`.
        session: returns the handler's session, if it has one.

    Attributes:
        kept: what is still to be written before the transaction ends, by `write_kept`.
    """

    def __init__(
        self,
        handler: str,
        event: DomainEvent | None,
        transaction: OnLoop,
        connection: Callable[[], Connection],
        session: Callable[[], Session | None] = lambda: None,
    ) -> None:
        super().__init__(handler, event)
        self.kept: list[Append] = []
        self._transaction = transaction
        self._connection = connection
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()  # two tasks can't use the connection at the same time

    def write(self, append: Append) -> None:
        if self._transaction.is_within():  # by `run` or by the session's own run_sync
            self._check()
            append(self._connection())
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # a thread that the handler awaits
            asyncio.run_coroutine_threadsafe(self.run(lambda: self.write(append)), self._loop).result()
        else:
            raise PublishError(
                f"publish() would block the event loop of handler {self._handler!r}, which has an AsyncSession or "
                f"AsyncConnection; use `await publish_async(event)`"
            )

    def write_in_time(self, write: Write, rows: Sequence[Envelope]) -> None:
        def append(connection: Connection) -> None:
            write(connection, rows)

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self.write(append)
            return
        if self._transaction.is_within():
            self.write(append)
            return
        self._check()
        if (session := self._session()) is not None:
            hold(session, write, rows)
        elif self._connection().in_nested_transaction():
            raise PublishError(
                f"handler {self._handler!r} is in a savepoint of an AsyncConnection, which can't be written to from "
                f"here: `await connection.run_sync(lambda _: task.delay(...))`"
            )
        else:
            self.kept.append(append)

    def write_kept(self) -> None:
        """Write what was kept; to be called within `transaction.run`."""
        kept, self.kept = self.kept, []
        for append in kept:
            append(self._connection())

    async def run(self, work: Callable[[], None]) -> None:
        async with self._lock:  # the delivery doesn't end meanwhile
            self._check()
            await self._transaction.run(work)

    async def end(self) -> None:
        """The delivery has ended: from now on no publish() joins it."""
        async with self._lock:
            self._has_ended = True


running: ContextVar[Running | None] = ContextVar("events_running", default=None)
