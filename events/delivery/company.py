"""The deliveries of one message while they run side by side on an event loop, with others that are taken along."""

import asyncio
import logging
import time
from asyncio import FIRST_COMPLETED, CancelledError
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any
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

_LOOK = 0.05  # seconds between looks whether this process shall end
# A message ends, so that messages of other handlers have their turn: for so many seconds deliveries of other messages
# are taken along, and then only while one that was begun in that time still runs.
TAKES_ALONG = 1.0
_FIRST_LOOK, _NEXT_LOOK, _LONGEST_LOOK = 0.005, 0.02, 0.5  # seconds between looks for others

Begin = Callable[[bool], Awaited]
Along = Callable[[Handler, Sequence[Claim], int], list[Claim]]


class Company:
    """The deliveries of a message, and what is taken along. All methods are called on the loop, unless they say else.

    Attributes:
        running: the deliveries that have no outcome yet.
        along: the deliveries that were taken along.
        limit: the seconds that each may take.
        leave_after: the seconds after which handlers are cancelled when the process shall end.
    """

    def __init__(
        self,
        tools: Tools,
        aside: Aside,
        handler: Handler,
        claims: Sequence[Claim],
        begin: Begin | None,
        at_once: int,
        take: Along | None,
        along: list[Claim],
    ) -> None:
        self.running = list(claims)
        self.along = along
        self.limit = self.leave_after = float("inf")
        self._tools = tools
        self._aside = aside
        self._handler = handler
        self._claims = claims
        self._begin = begin
        self._at_once = at_once
        self._take = take
        self._calls: set[Call] = set()
        self._results: Results = {}
        self._left: list[Claim] = []
        self._leaves = False  # whether nothing more is begun
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self) -> Results:
        self._loop = asyncio.get_running_loop()
        self._successes = Successes(self._tools.inbox, self._aside)
        self._slots = asyncio.Semaphore(self._at_once)
        self._eager = asyncio.Lock()  # one at a time tries again what collided with another transaction
        self._begun = self._look_at = self._loop.time()
        self._look_at += _FIRST_LOOK
        self._look_every = _NEXT_LOOK
        ends = asyncio.create_task(self._watch_the_end())
        parts = [self._claims] if self._handler.batch else [[claim] for claim in self._claims]
        tasks = {asyncio.create_task(self._one(part)) for part in parts}
        errors: list[BaseException] = []
        try:
            while tasks:
                ended, tasks = await asyncio.wait(tasks, timeout=self._until_look(), return_when=FIRST_COMPLETED)
                errors += [error for task in ended if (error := task.exception()) is not None]
                if tasks and self._takes_more():
                    tasks |= {asyncio.create_task(self._one([claim])) for claim in await self._more()}
        finally:
            ends.cancel()
            if tasks:  # this process ends
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
        if self._left:
            left = self._left
            await self._aside.do(lambda: self._hand_back(left))
        if errors:
            raise errors[0]
        return self._results

    def _until_look(self) -> float | None:
        """The seconds until the next look for further deliveries; None if there is none before one has ended."""
        now = asyncio.get_running_loop().time()
        return max(0.0, self._look_at - now) if self._may_take(now) else None

    def _takes_more(self) -> bool:
        now = asyncio.get_running_loop().time()
        return now >= self._look_at and self._may_take(now)

    def _may_take(self, now: float) -> bool:
        if self._take is None or self._leaves or len(self.running) >= self._at_once or self._tools.draining():
            return False
        last = self._begun + TAKES_ALONG
        return now < last or any(call.since < last for call in self._calls)

    async def _more(self) -> Sequence[Claim]:
        """Further deliveries, for which there is room."""
        assert self._take is not None
        take, now_running = self._take, tuple(self.running)
        taken = await self._aside.do(lambda: take(self._handler, now_running, self._at_once - len(now_running)))
        self.along += taken
        self.running += taken
        self._look_every = _NEXT_LOOK if taken else min(2 * self._look_every, _LONGEST_LOOK)
        self._look_at = asyncio.get_running_loop().time() + self._look_every
        return taken

    def since(self) -> float:
        """When the delivery began that has run longest, by time.monotonic(). Any thread may call this."""
        return min((call.since for call in tuple(self._calls)), default=time.monotonic())

    def stands_at(self) -> Awaitable[Any] | None:
        """The coroutine of the handler that has run longest. Any thread may call this."""
        longest = min(tuple(self._calls), key=lambda call: call.since, default=None)
        return longest.coroutine if longest is not None else None

    def interrupt(self) -> bool:
        """The time of the whole message is up: cancel what runs. Any thread may call this. True, to wait on."""
        self._leaves = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cut, Cut.TIME_LIMIT)
        return True

    def _cut(self, why: Cut) -> None:
        now = asyncio.get_running_loop().time()
        for call in self._calls:
            call.cut_off(why if now - call.since >= self.limit else Cut.INTERRUPTED)

    async def _watch_the_end(self) -> None:
        """Cancel what still runs shortly before this process ends."""
        while not self._tools.draining():
            await asyncio.sleep(_LOOK)
        await asyncio.sleep(self.leave_after)
        self._cut(Cut.INTERRUPTED)

    async def _one(self, claims: Sequence[Claim]) -> None:
        async with self._slots:
            if self._leaves or self._tools.draining():
                self._left += claims
                self._results |= {claim.envelope.id: Result(Outcome.HANDED_BACK) for claim in claims}
            else:
                self._results |= await self._outcomes(claims)
        for claim in claims:
            self.running.remove(claim)

    async def _outcomes(self, claims: Sequence[Claim]) -> Results:
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
        self._calls.add(call)
        try:
            await call.run(self._tools.calls, self.limit)
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
            self._calls.discard(call)
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
                await self._aside.do(lambda: self._hand_back(claims))
                return {claim.envelope.id: Result(Outcome.HANDED_BACK) for claim in claims}
            error = _over_time(self.limit, error)
        if len(claims) == 1:
            return {claims[0].envelope.id: await self._judged(claims[0], error)}
        if await self._aside.do(lambda: self._tools.judge.was_committed(claims[0], error)):
            return {claim.envelope.id: Result(Outcome.SUCCEEDED) for claim in claims}
        return await self._aside.do(lambda: self._tools.judge.take_apart(claims, error))

    async def _judged(self, claim: Claim, error: BaseException) -> Result:
        return await self._aside.do(lambda: self._tools.judge.failed(self._handler, claim, error))

    def _hand_back(self, claims: Sequence[Claim]) -> None:
        self._tools.outages.wait_out(lambda: self._tools.inbox.hand_back(claims, timedelta(0)))


def _over_time(limit: float, cancelled: BaseException) -> TimeLimitExceeded:
    """The error of a handler that was cancelled, with the traceback of where it was."""
    error = TimeLimitExceeded(f"the handler ran over its time limit of {limit:g} s, and was cancelled")
    error.__cause__ = cancelled
    return error.with_traceback(cancelled.__traceback__)


def _log_fields(claim: Claim) -> dict[str, object]:
    return {"event_id": claim.envelope.id, "handler": claim.handler, "attempt": claim.attempt}
