"""One attempt of a delivery, or of a batch of them, on an event loop: from its stored event to its outcome."""

import asyncio
import logging
from asyncio import CancelledError
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

from events.delivery.awaiting import Call, Cut
from events.delivery.outcomes import Aside, Successes
from events.delivery.tools import Tools
from events.delivery.verdict import Results
from events.errors import EventDataError, LeaseLost, NewerEvent, TimeLimitExceeded
from events.event import DomainEvent
from events.handling import Handler
from events.ledger import Awaited, Claim, Outcome, Result, decode

log = logging.getLogger("events.delivery")

Begin = Callable[[bool], Awaited]


class Attempts:
    """Makes attempts on the running event loop, side by side.

    Args:
        begin: begins the transaction of a delivery; None if the handler asks for no SQL.
        limit: the seconds that each may take.
    Attributes:
        calls: the calls of the handler that run now. Any thread may read a copy.
    """

    def __init__(self, tools: Tools, aside: Aside, handler: Handler, begin: Begin | None, limit: float) -> None:
        self.calls: set[Call] = set()
        self._tools = tools
        self._aside = aside
        self._handler = handler
        self._begin = begin
        self._limit = limit
        self._successes = Successes(tools.inbox, aside)
        self._eager = asyncio.Lock()  # one at a time tries again what collided with another transaction

    def cut(self, why: Cut) -> None:
        """Cancel what runs; by its own fault what is over its limit, the rest for this reason."""
        now = asyncio.get_running_loop().time()
        for call in self.calls:
            call.cut_off(why if now - call.since >= self._limit else Cut.INTERRUPTED)

    async def make(self, claims: Sequence[Claim]) -> Results:
        """Make one attempt, and write the outcome of each delivery. Returns them."""
        events, results = await self._read(claims)
        if readable := [claim for claim in claims if claim.envelope.id in events]:
            results |= await self._attempted(readable, list(events.values()))
        return results

    async def _read(self, claims: Sequence[Claim]) -> tuple[dict[UUID, DomainEvent], Results]:
        """The events, by id; and the results of the deliveries whose events can't be read."""
        events: dict[UUID, DomainEvent] = {}
        results: Results = {}
        for claim in claims:
            try:
                events[claim.envelope.id] = decode(claim.envelope)
            except (EventDataError, NewerEvent) as error:
                results[claim.envelope.id] = await self._judged(claim, error)
        return events, results

    async def _attempted(self, claims: Sequence[Claim], events: Sequence[DomainEvent]) -> Results:
        """Run the handler; if its transaction collided with another, once more, with all locks taken first."""
        call = await self._called(claims, events, eager=False)
        if call.error is not None and self._tools.inbox.is_contention(call.error):
            log.info(
                "delivery %s of %s ran into another transaction",
                self._handler.name,
                claims[0].envelope.id,
                extra=_log_fields(claims[0]),
            )
            call.over(committed=False)
            async with self._eager:
                call = await self._called(claims, events, eager=True)
        results: Results = {}
        try:
            results = await self._results_of(call)
        finally:
            call.over(committed=Outcome.SUCCEEDED in {result.outcome for result in results.values()})
        return results

    async def _called(self, claims: Sequence[Claim], events: Sequence[DomainEvent], *, eager: bool) -> Call:
        """Call the handler, and commit its effects together with its success. Its error is noted in the call."""
        transaction = self._begin(eager) if self._begin is not None else None
        call = Call(self._handler, claims, events, transaction)
        self.calls.add(call)
        try:
            await call.run(self._tools.calls, self._limit)
            if transaction is not None and transaction.is_used:
                await transaction.commit(claims)
            else:
                await self._successes.write(claims, call.kept)
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, CancelledError) and task is not None and task.cancelling():
                raise  # this process ends
            call.error = error
        finally:
            self.calls.discard(call)
            if transaction is not None:
                await transaction.end(call.error)
        return call

    async def _results_of(self, call: Call) -> Results:
        claims, error = call.claims, call.error
        if error is None:
            return {claim.envelope.id: Result(Outcome.SUCCEEDED) for claim in claims}
        if isinstance(error, LeaseLost):
            log.warning("%s", error, extra=_log_fields(claims[0]))
            return {claim.envelope.id: Result(Outcome.NOT_OURS, error) for claim in claims}
        if call.cut is not None and isinstance(error, CancelledError):
            if call.cut is Cut.INTERRUPTED:
                await self.hand_back(claims)
                return {claim.envelope.id: Result(Outcome.HANDED_BACK) for claim in claims}
            error = _over_time(self._limit, error)
        if len(claims) == 1:
            return {claims[0].envelope.id: await self._judged(claims[0], error)}
        if await self._aside.do(lambda: self._tools.judge.was_committed(claims[0], error)):
            return {claim.envelope.id: Result(Outcome.SUCCEEDED) for claim in claims}
        return await self._aside.do(lambda: self._tools.judge.take_apart(claims, error))

    async def _judged(self, claim: Claim, error: BaseException) -> Result:
        return await self._aside.do(lambda: self._tools.judge.failed(self._handler, claim, error))

    async def hand_back(self, claims: Sequence[Claim]) -> None:
        """Hand back these deliveries: the attempt isn't counted."""
        inbox = self._tools.inbox
        await self._aside.do(lambda: self._tools.outages.wait_out(lambda: inbox.hand_back(claims, timedelta(0))))


def _over_time(limit: float, cancelled: BaseException) -> TimeLimitExceeded:
    """The error of a handler that was cancelled, with the traceback of where it was."""
    error = TimeLimitExceeded(f"the handler ran over its time limit of {limit:g} s, and was cancelled")
    error.__cause__ = cancelled
    return error.with_traceback(cancelled.__traceback__)


def _log_fields(claim: Claim) -> dict[str, object]:
    return {"event_id": claim.envelope.id, "handler": claim.handler, "attempt": claim.attempt}
