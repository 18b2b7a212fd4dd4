"""Replay or discard a failure group, or all dead letters that match a filter: a page asks, a job does the work."""

import math
from collections.abc import Callable
from datetime import UTC, datetime

from events.flower import formats
from events.flower.access import why_actions_are_off
from events.flower.complaints import Complaint, complaint_of
from events.flower.formats import short_type, shown_time
from events.flower.jobs import Tell, TooMany
from events.flower.page import Action, Page, authenticated
from events.flower.query import Query
from events.flower.ticked import ANOTHER_OPERATOR, DONE
from events.ledger import DeadLetterFilter
from events.text import deliveries, plural

AT_ONCE = 0.5  # seconds that the answer waits for a job that may be short
LOWEST_RATE, HIGHEST_RATE = 0.1, 100_000.0  # dead letters per second


class BulkAction(Action):
    """/dead-letters/replay and /dead-letters/discard: GET shows how many dead letters match, POST begins the job."""

    tab = "letters"

    @authenticated
    async def get(self, verb: str) -> None:
        query = Query.of(self.asked_for).pinned(datetime.now(UTC))
        wanted = await self._wanted(query)
        count = await self.backend.ask(lambda pipeline: pipeline.dead_letters.count(wanted))
        back = self.reverse_url("ledger_letters")
        self.show("ledger-confirm.html", verb=verb, query=query, wanted=wanted, count=count, back=back)

    @authenticated
    async def post(self, verb: str) -> None:
        query, rate, actor = Query.of(self.field), rate_of(self.field("rate")), self.actor()
        if not query.before:
            raise Complaint(400, "the form doesn't say up to which time; open the page with the button again")
        try:
            wanted = await self._wanted(query)
        except Complaint as complaint:
            if complaint.status_code != 404:
                raise
            why = f"The failure group was gone already: {ANOTHER_OPERATOR} it."
            self.say(f"Nothing was {DONE[verb]}. {why}", well=False)
            self.back("ledger_letters")
            return
        title = f"{verb.capitalize()} {described(wanted)}"
        try:
            job = self.backend.jobs.start(f"{verb}{query.link()}", title, actor, self._work(verb, wanted, actor, rate))
        except TooMany as error:
            raise Complaint(409, str(error)) from None
        if not await self.backend.ended(job, AT_ONCE):
            self.say(f"{title}: {job.actor} began this job; its progress is below.")
        elif job.error is not None:
            raise complaint_of(job.error)
        else:
            self.say(f"{title}: {job.said or 'stopped'}")
        self.back("ledger_letters")

    async def _wanted(self, query: Query) -> DeadLetterFilter:
        wanted = query.filter()
        return await self.backend.of_group(query.group, wanted) if query.group else wanted

    def _work(self, verb: str, wanted: DeadLetterFilter, actor: str, rate: float | None) -> Callable[[Tell], str]:
        def work(tell: Tell) -> str:
            letters = self.backend.pipeline().dead_letters
            if verb == "replay":
                count = letters.replay(wanted, actor, rate=rate, progress=tell)
            else:
                count = letters.discard(wanted, actor, progress=tell)
            return f"{actor} {DONE[verb]} {plural(count, 'dead letter')}."

        return work


class JobList(Page):
    """GET /dead-letters/jobs: the jobs, for the script on the pages."""

    @authenticated
    async def get(self) -> None:
        why_not = why_actions_are_off(self.application.options)
        self.render("ledger-jobs.html", words=formats, jobs=self.backend.jobs.recent(), why_not=why_not)


class StopJob(Action):
    """POST /dead-letters/stop"""

    @authenticated
    async def post(self) -> None:
        job = self.backend.jobs.stop(self.field("job"))
        if job is None:
            self.say("The job had ended already.", well=False)
        else:
            await self.backend.ended(job, AT_ONCE)
            self.say(f"{job.title}: stopped after {deliveries(job.done)}.")
        self.back("ledger_letters")


def described(wanted: DeadLetterFilter) -> str:
    """The filter in words, for the title of a job."""
    parts = [
        wanted.handler,
        short_type(wanted.error_type) if wanted.error_type else None,
        f"in {wanted.place}" if wanted.place else None,
        f"of event {wanted.event_type}" if wanted.event_type else None,
        f"of {wanted.aggregate_id}" if wanted.aggregate_id else None,
        f"with {wanted.error!r} in the error" if wanted.error else None,
        f"since {shown_time(wanted.since)}" if wanted.since else None,
    ]
    return ", ".join(part for part in parts if part) or "all dead letters"


def rate_of(text: str) -> float | None:
    """Dead letters per second; None for no limit. Raises Complaint if the text is not a rate."""
    if not text.strip():
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise Complaint(400, f"{text[:40]!r} is not a rate; give dead letters per second, {LOWEST_RATE} or more")
    return rate
