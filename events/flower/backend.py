"""The core behind the pages, asked in threads, so that Flower's event loop never waits for SQL."""

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

THREADS = 8  # our own: Flower's threads are busy with questions to workers, a second each
PATIENCE = 0.05  # seconds that a page waits for fresh numbers before it shows old numbers ...
LONGER = 0.5  # ... and that it waits if it knows that the old numbers are wrong
NEWEST = 20  # events that the first page shows, of the same snapshot as its numbers
ANSWER_WITHIN = 20.0  # seconds


class Backend:
    """All pages of a Flower share one.

    Args:
        pipeline: makes the pipeline of this process. Called when a page needs it: a wrong setting is a line on a page.

    Attributes:
        under_way: the numbers of unfinished deliveries, which Flower's /metrics shows, too.
        jobs: the jobs that operators have begun on the pages.
    """

    def __init__(self, pipeline: Callable[[], Pipeline]) -> None:
        self._pipeline = pipeline
        self._threads = ThreadPoolExecutor(THREADS, "events-page")
        self.under_way = Cached(lambda: pipeline().ledger.overviews.take(finished=False, newest=NEWEST))
        self._everything = Cached(lambda: pipeline().ledger.overviews.take(newest=NEWEST), is_cheap=is_little)
        self._dead = Cached(lambda: pipeline().dead_letters.survey(), is_cheap=lambda seen: seen.count <= LITTLE)
        self.jobs = Jobs(on_end=self.changed)

    def begin_counting(self) -> None:
        """Count before a user looks: counting millions of rows takes seconds."""
        for cached in (self.under_way, self._everything, self._dead):
            cached.refresh()

    def changed(self) -> None:
        """The ledger was changed: the next page counts anew."""
        self.under_way.expire()
        self._dead.expire()
        if is_little(self._everything.latest()):
            self._everything.expire()

    async def ask(self, look: Callable[[Pipeline], T]) -> T:
        """The core's answer, from a thread. Raises Complaint if the core fails, or answers too late."""
        answer = asyncio.get_running_loop().run_in_executor(self._threads, lambda: look(self._pipeline()))
        try:
            return await asyncio.wait_for(answer, ANSWER_WITHIN)
        except TimeoutError:
            raise Complaint(503, f"the database has not answered within {ANSWER_WITHIN:.0f} s") from None
        except Exception as error:
            raise complaint_of(error) from error

    async def standing(self) -> Standing:
        """The ledger in numbers. Raises Complaint if the last attempt to count failed."""
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
        """All dead letters, and the age of this survey in seconds: 0 unless there are very many dead letters."""
        survey = await self._dead.look(_patience(self._dead))
        if survey.error is not None:
            raise complaint_of(survey.error)
        if survey.value is None:
            return await self.ask(lambda pipeline: pipeline.dead_letters.survey(grouped=False)), 0.0
        if survey.value.count <= LITTLE:
            return await self.ask(lambda pipeline: pipeline.dead_letters.survey()), 0.0
        return survey.value, survey.age

    async def groups(self) -> Sequence[FailureGroup] | None:
        """All failure groups; None while Flower counts them for the first time."""
        survey = await self._dead.look(PATIENCE)
        if survey.error is not None:
            raise complaint_of(survey.error)
        return None if survey.value is None else survey.value.groups

    async def of_group(self, key: str, wanted: DeadLetterFilter) -> DeadLetterFilter:
        """The same filter, for this failure group only."""
        for group in await self.groups() or ():
            if group.key == key:
                return replace(wanted, handler=group.handler, error_type=group.error_type, place=group.place)
        return await self.ask(lambda pipeline: pipeline.dead_letters.of_group(key, wanted))

    async def ended(self, job: Job, within: float) -> bool:
        """Whether the job ends within so many seconds."""
        done, _ = await asyncio.wait([asyncio.wrap_future(job.ended)], timeout=within)
        return bool(done)

    def pipeline(self) -> Pipeline:
        """The pipeline, for jobs, which have threads of their own."""
        return self._pipeline()


def _patience(cached: Cached[Any]) -> float:
    return LONGER if cached.is_behind() else PATIENCE
