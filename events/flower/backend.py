"""Where the pages get what they show: the core, asked in threads, so that Flower's own loop never waits for SQL."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from events.flower.complaints import Complaint, complaint_of
from events.flower.jobs import Job, Jobs
from events.flower.standing import LITTLE, Standing, is_little, joined
from events.ledger import DeadLetterFilter, FailureGroup, Survey
from events.monitoring import Cached
from events.pipeline import Pipeline

T = TypeVar("T")

THREADS = 8  # of our own: those of Flower's are busy with asking workers, a second each
PATIENCE = 0.05  # seconds that a page waits for fresh numbers before it shows those that it has ...
LONGER = 0.5  # ... and if it knows that they are no longer true
NEWEST = 20  # events that the first page shows, of the same moment as its numbers
ANSWER_WITHIN = 20.0  # seconds


class Backend:
    """One for all pages of a Flower.

    Args:
        pipeline: of this process. Asked for when it is needed, and not before: a wrong setting is a line on a page.

    Attributes:
        under_way: what is not finished, which Flower's /metrics shows, too.
        jobs: what operators have begun on the pages.
    """

    def __init__(self, pipeline: Callable[[], Pipeline]) -> None:
        self._pipeline = pipeline
        self._threads = ThreadPoolExecutor(THREADS, "events-page")
        self.under_way = Cached(lambda: pipeline().ledger.overviews.take(finished=False, newest=NEWEST))
        self._everything = Cached(lambda: pipeline().ledger.overviews.take(newest=NEWEST), is_cheap=is_little)
        self._dead = Cached(lambda: pipeline().dead_letters.survey(), is_cheap=lambda seen: seen.count <= LITTLE)
        self.jobs = Jobs(on_end=self.changed)

    def begin_counting(self) -> None:
        """Before anybody looks: with millions of rows it takes seconds."""
        for cached in (self.under_way, self._everything, self._dead):
            cached.ask()

    def changed(self) -> None:
        """Something was done to the ledger: what the pages show of it is got anew at the next look."""
        self.under_way.expire()
        self._dead.expire()
        if is_little(self._everything.latest()):
            self._everything.expire()

    async def ask(self, look: Callable[[Pipeline], T]) -> T:
        """What the core says, from a thread. Raises Complaint if it can't be had."""
        working = asyncio.get_running_loop().run_in_executor(self._threads, lambda: look(self._pipeline()))
        try:
            return await asyncio.wait_for(working, ANSWER_WITHIN)
        except TimeoutError:
            raise Complaint(503, f"the database has not answered within {ANSWER_WITHIN:.0f} s") from None
        except Exception as error:
            raise complaint_of(error) from error

    async def standing(self) -> Standing:
        """The ledger in numbers. Raises Complaint if the last try to count failed."""
        whole = await self._everything.look(_patience(self._everything))
        if is_little(whole.value):
            if whole.error is not None:
                raise complaint_of(whole.error)
            return Standing(whole.value, whole.age, whole.age)
        fresh = await self.under_way.look(_patience(self.under_way))
        if fresh.error is not None:
            raise complaint_of(fresh.error)
        if fresh.value is None or whole.value is None:
            return Standing(fresh.value, fresh.age)
        return Standing(joined(fresh.value, whole.value), fresh.age, whole.age)

    async def dead(self) -> tuple[Survey, float]:
        """All dead letters, and for how many seconds they stood so: as they are, unless there are very many."""
        seen = await self._dead.look(_patience(self._dead))
        if seen.error is not None:
            raise complaint_of(seen.error)
        if seen.value is None:
            return await self.ask(lambda pipeline: pipeline.dead_letters.survey(grouped=False)), 0.0
        if seen.value.count <= LITTLE:
            return await self.ask(lambda pipeline: pipeline.dead_letters.survey()), 0.0
        return seen.value, seen.age

    async def groups(self) -> Sequence[FailureGroup] | None:
        """All failure groups; None while they are counted for the first time."""
        seen = await self._dead.look(PATIENCE)
        if seen.error is not None:
            raise complaint_of(seen.error)
        return None if seen.value is None else seen.value.groups

    async def of_group(self, key: str, wanted: DeadLetterFilter) -> DeadLetterFilter:
        """The same filter, for one group only."""
        for group in await self.groups() or ():
            if group.key == key:
                return replace(wanted, handler=group.handler, error_type=group.error_type, place=group.place)
        return await self.ask(lambda pipeline: pipeline.dead_letters.of_group(key, wanted))

    async def ended(self, job: Job, within: float) -> bool:
        """Wait for it, a little; whether it has ended."""
        done, _ = await asyncio.wait([asyncio.wrap_future(job.ended)], timeout=within)
        return bool(done)

    def pipeline(self) -> Pipeline:
        """For jobs, which have threads of their own."""
        return self._pipeline()


def _patience(cached: Cached[Any]) -> float:
    return LONGER if cached.is_behind() else PATIENCE
