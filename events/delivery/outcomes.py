"""Writes the successes of deliveries that sent no SQL on their event loop, in a thread: many in one transaction."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection

from events.ledger import Claim, Inbox

Answer = TypeVar("Answer")

_AT_ONCE = 100  # successes in one transaction
_THREADS = 2  # that write outcomes; each has a connection meanwhile


class Aside:
    """Threads beside an event loop, for our own SQL that blocks. Handlers have others, which may all be busy."""

    def __init__(self) -> None:
        from concurrent.futures import ThreadPoolExecutor  # here: its module watches forks, from its import on

        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="events-outcomes")

    async def do(self, work: Callable[[], Answer]) -> Answer:
        """Do this work in a thread. Returns its answer, and raises its error."""
        context = copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: context.run(work))

    def close(self) -> None:
        self._threads.shutdown(wait=False)


@dataclass(slots=True)
class _Success:
    """Deliveries of one call that went well; `kept` writes the events that they published."""

    claims: Sequence[Claim]
    kept: Sequence[Callable[[Connection], None]]
    written: "asyncio.Future[None]"


class Successes:
    """Writes successes on one event loop. Those that come while a transaction is written share the next one."""

    def __init__(self, inbox: Inbox, aside: Aside) -> None:
        self._inbox = inbox
        self._aside = aside
        self._waiting: list[_Success] = []
        self._writer: asyncio.Task[None] | None = None

    async def write(self, claims: Sequence[Claim], kept: Sequence[Callable[[Connection], None]]) -> None:
        """Return when these successes are committed, with the events.

        Raises:
            LeaseLost: this worker lost a delivery; nothing of this call was written.
            Exception: every error of the database, or of the events.
        """
        success = _Success(claims, kept, asyncio.get_running_loop().create_future())
        self._waiting.append(success)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        await success.written

    async def _write_all(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            await self._write_together(some)

    async def _write_together(self, some: Sequence[_Success]) -> None:
        """Write these in one transaction; if that fails, each in its own, so that only the guilty one fails."""
        try:
            await self._aside.do(lambda: self._transact(some))
        except BaseException as error:
            # A commit in doubt is looked up, delivery by delivery, by those who wait for it.
            if len(some) == 1 or not isinstance(error, Exception) or self._inbox.is_away(error):
                for one in some:
                    _end(one, error)
                return
            for one in some:
                await self._write_together([one])
        else:
            for one in some:
                _end(one, None)

    def _transact(self, some: Sequence[_Success]) -> None:
        with self._inbox.begin(eager=True) as connection:
            for one in some:
                for append in one.kept:
                    append(connection)
            self._inbox.succeed(connection, [claim for one in some for claim in one.claims])


def _end(success: _Success, error: BaseException | None) -> None:
    if success.written.done():  # cancelled
        return
    if error is None:
        success.written.set_result(None)
    elif isinstance(error, asyncio.CancelledError):
        success.written.cancel()
    else:
        success.written.set_exception(error)
