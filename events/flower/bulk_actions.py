"""Replay or discard a whole failure group, or all that match a filter: asked first, done in the background."""

import math
from collections.abc import Callable
from datetime import UTC, datetime

from events.flower import formats
from events.flower.access import why_nobody_acts
from events.flower.complaints import Trouble, trouble_of
from events.flower.formats import moment, plural, short_type
from events.flower.jobs import Tell, TooMany
from events.flower.page import Action, Page, authenticated
from events.flower.query import Asked
from events.flower.ticked import DONE
from events.ledger import DeadLetterFilter

AT_ONCE = 0.5  # seconds that the answer waits for a job that may be short
LOWEST_RATE, HIGHEST_RATE = 0.1, 100_000.0


class Bulk(Action):
    """/dead-letters/replay and /dead-letters/discard: GET shows how many it would be, POST begins it."""

    tab = "letters"

    @authenticated
    async def get(self, verb: str) -> None:
        asked = Asked.of(self.asked_for).pinned(datetime.now(UTC))
        wanted = await self._wanted(asked)
        count = await self.desk.ask(lambda pipeline: pipeline.dead_letters.count(wanted))
        back = self.reverse_url("ledger_letters")
        self.show("ledger-confirm.html", verb=verb, asked=asked, wanted=wanted, count=count, back=back)

    @authenticated
    async def post(self, verb: str) -> None:
        asked, rate, actor = Asked.of(self.field), rate_of(self.field("rate")), self.actor()
        if not asked.before:
            raise Trouble(400, "say up to when: the page with the button does")
        try:
            wanted = await self._wanted(asked)
        except Trouble as trouble:
            if trouble.status_code != 404:
                raise
            self.say(f"Nothing was {DONE[verb]}: somebody was faster, or it has been done already.", well=False)
            self.back("ledger_letters")
            return
        title = f"{verb.capitalize()} {meant(wanted)}"
        try:
            job = self.desk.jobs.start(f"{verb}{asked.query()}", title, actor, self._work(verb, wanted, actor, rate))
        except TooMany as error:
            raise Trouble(409, str(error)) from None
        if not await self.desk.ended(job, AT_ONCE):
            self.say(f"{title}: begun by {job.actor}, see below.")
        elif job.error is not None:
            raise trouble_of(job.error)
        else:
            self.say(f"{title}: {job.said or 'stopped'}")
        self.back("ledger_letters")

    async def _wanted(self, asked: Asked) -> DeadLetterFilter:
        wanted = asked.filter()
        return await self.desk.of_group(asked.group, wanted) if asked.group else wanted

    def _work(self, verb: str, wanted: DeadLetterFilter, actor: str, rate: float | None) -> Callable[[Tell], str]:
        def work(tell: Tell) -> str:
            letters = self.desk.pipeline().dead_letters
            if verb == "replay":
                count = letters.replay(wanted, actor, rate=rate, progress=tell)
            else:
                count = letters.discard(wanted, actor, progress=tell)
            return f"{plural(count, 'delivery', 'deliveries')} {DONE[verb]} by {actor}."

        return work


class JobList(Page):
    """GET /dead-letters/jobs: what is under way, for the script on the pages."""

    @authenticated
    async def get(self) -> None:
        why_not = why_nobody_acts(self.application.options)
        self.render("ledger-jobs.html", words=formats, jobs=self.desk.jobs.recent(), why_not=why_not)


class StopJob(Action):
    """POST /dead-letters/stop"""

    @authenticated
    async def post(self) -> None:
        job = self.desk.jobs.stop(self.field("job"))
        if job is None:
            self.say("It had ended already.", well=False)
        else:
            await self.desk.ended(job, AT_ONCE)
            self.say(f"{job.title}: stopped after {job.done:,}.")
        self.back("ledger_letters")


def meant(wanted: DeadLetterFilter) -> str:
    """What a job is about, to be read."""
    parts = [
        wanted.handler,
        short_type(wanted.error_type) if wanted.error_type else None,
        f"in {wanted.place}" if wanted.place else None,
        f"of event {wanted.event_type}" if wanted.event_type else None,
        f"of {wanted.aggregate_id}" if wanted.aggregate_id else None,
        f"with {wanted.error!r}" if wanted.error else None,
        f"since {moment(wanted.since)}" if wanted.since else None,
    ]
    return ", ".join(part for part in parts if part) or "all dead letters"


def rate_of(text: str) -> float | None:
    """So many a second; None if it may be as fast as it can. Raises Trouble."""
    if not text.strip():
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise Trouble(400, f"{text[:40]!r} is no rate: say how many a second, {LOWEST_RATE} or more")
    return rate
