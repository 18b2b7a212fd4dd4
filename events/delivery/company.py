"""The deliveries of one message while they run side by side on an event loop, with others that are taken along."""

import asyncio
import time
from asyncio import FIRST_COMPLETED
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from events.delivery.attempting import Attempts, Begin
from events.delivery.awaiting import Cut
from events.delivery.outcomes import Aside
from events.delivery.taking_along import Looks
from events.delivery.tools import Tools
from events.delivery.verdict import Results
from events.handling import Handler
from events.ledger import Claim, Outcome, Result

_LOOK = 0.05  # seconds between looks whether this process shall end

Along = Callable[[Handler, Sequence[Claim], int], list[Claim]]


class Company:
    """The deliveries of a message, and what is taken along. All methods are called on the loop, unless they say else.

    Args:
        begin: begins the transaction of a delivery; None if the handler asks for no SQL.
        at_once: deliveries that run at a time.
        limit: the seconds that each may take.
        leave_after: the seconds after which handlers are cancelled when the process shall end.
        take: takes further deliveries; None to take none.
        along: gets the deliveries that were taken along.
    Attributes:
        running: the deliveries that have no outcome yet.
    """

    def __init__(
        self,
        tools: Tools,
        aside: Aside,
        handler: Handler,
        claims: Sequence[Claim],
        *,
        begin: Begin | None,
        at_once: int,
        limit: float,
        leave_after: float,
        take: Along | None,
        along: list[Claim],
    ) -> None:
        self.running = list(claims)
        self._tools = tools
        self._aside = aside
        self._handler = handler
        self._claims = claims
        self._begin = begin
        self._at_once = at_once
        self._limit = limit
        self._leave_after = leave_after
        self._take = take
        self._along = along
        self._results: Results = {}
        self._left: list[Claim] = []
        self._leaves = False  # whether nothing more is begun
        self._loop: asyncio.AbstractEventLoop | None = None
        self._attempts: Attempts | None = None  # None before the loop runs

    async def run(self) -> Results:
        """Run all of them to their outcomes. Returns these."""
        self._attempts = attempts = Attempts(self._tools, self._aside, self._handler, self._begin, self._limit)
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(self._at_once)
        self._looks = Looks(self._loop.time())
        ends = asyncio.create_task(self._watch_the_end(attempts))
        parts = [self._claims] if self._handler.batch else [[claim] for claim in self._claims]
        tasks = {asyncio.create_task(self._one(part, attempts)) for part in parts}
        errors: list[BaseException] = []
        try:
            while tasks:
                ended, tasks = await asyncio.wait(tasks, timeout=self._until_look(), return_when=FIRST_COMPLETED)
                errors += [error for task in ended if (error := task.exception()) is not None]
                now = self._loop.time()
                if tasks and self._looks.is_due(now) and self._may_take(now):
                    tasks |= {asyncio.create_task(self._one([claim], attempts)) for claim in await self._more()}
        finally:
            ends.cancel()
            if tasks:  # this process ends
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
        if self._left:
            await attempts.hand_back(self._left)
        if errors:
            raise errors[0]
        return self._results

    async def _one(self, claims: Sequence[Claim], attempts: Attempts) -> None:
        async with self._slots:
            if self._leaves or self._tools.draining():
                self._left += claims
                self._results |= {claim.envelope.id: Result(Outcome.HANDED_BACK) for claim in claims}
            else:
                self._results |= await attempts.make(claims)
        for claim in claims:
            self.running.remove(claim)

    # Taking along.

    def _until_look(self) -> float | None:
        """The seconds until the next look for further deliveries; None if there is none before one has ended."""
        now = asyncio.get_running_loop().time()
        return self._looks.wait(now) if self._may_take(now) else None

    def _may_take(self, now: float) -> bool:
        if self._take is None or self._leaves or len(self.running) >= self._at_once or self._tools.draining():
            return False
        assert self._attempts is not None
        until = self._looks.until
        return now < until or any(call.since < until for call in self._attempts.calls)

    async def _more(self) -> Sequence[Claim]:
        """Further deliveries, for which there is room."""
        assert self._take is not None
        take, now_running = self._take, tuple(self.running)
        taken = await self._aside.do(lambda: take(self._handler, now_running, self._at_once - len(now_running)))
        self._along += taken
        self.running += taken
        self._looks.looked(asyncio.get_running_loop().time(), bool(taken))
        return taken

    # The end, by a time limit or of this process.

    def interrupt(self) -> bool:
        """The time of the whole message is up: cancel what runs. Any thread may call this. True, to wait on."""
        self._leaves = True
        if self._loop is not None and self._attempts is not None:
            self._loop.call_soon_threadsafe(self._attempts.cut, Cut.TIME_LIMIT)
        return True

    async def _watch_the_end(self, attempts: Attempts) -> None:
        """Cancel what still runs shortly before this process ends."""
        while not self._tools.draining():
            await asyncio.sleep(_LOOK)
        await asyncio.sleep(self._leave_after)
        attempts.cut(Cut.INTERRUPTED)

    # What others see. Any thread may call these.

    def since(self) -> float:
        """When the delivery began that has run longest, by time.monotonic()."""
        return min((call.since for call in self._calls()), default=time.monotonic())

    def stands_at(self) -> Awaitable[Any] | None:
        """The coroutine of the handler that has run longest."""
        longest = min(self._calls(), key=lambda call: call.since, default=None)
        return longest.coroutine if longest is not None else None

    def _calls(self) -> tuple[Any, ...]:
        return tuple(self._attempts.calls) if self._attempts is not None else ()
