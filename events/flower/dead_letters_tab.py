"""Dead letters: the failure groups, then each dead letter, newest first; all of one snapshot."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from events.flower.page import Page, authenticated
from events.flower.query import Query
from events.ledger import DeadLetter, Survey

MOST = 50  # dead letters on a page
MOST_GROUPS = 100


class LettersTab(Page):
    """/dead-letters"""

    tab = "letters"

    @authenticated
    async def get(self) -> None:
        query = Query.of(self.asked_for)
        survey, age = await self._survey(query)
        self.show(
            "ledger-letters.html",
            query=query,
            groups=survey.groups,
            most_groups=MOST_GROUPS,
            count=survey.count,
            letters=survey.letters,
            older=older(query, survey.letters),
            age=age,
        )

    async def _survey(self, query: Query) -> tuple[Survey, float]:
        if not query:
            return await self.backend.dead()
        wanted = query.filter()
        if query.group:
            wanted = await self.backend.of_group(query.group, wanted)
        wanted = replace(wanted, limit=MOST)
        return await self.backend.ask(lambda pipeline: pipeline.dead_letters.survey(wanted)), 0.0


def older(query: Query, letters: Sequence[DeadLetter]) -> str | None:
    """The query of the next page. Several letters may have died at one time, so that page repeats the last."""
    if len(letters) < MOST or letters[-1].died_at is None:
        return None
    last, first = letters[-1].died_at, letters[0].died_at
    return query.link(before=(last if last == first else last + timedelta(microseconds=1)).isoformat())
