"""Dead letters: what failed alike, and then each, newest first."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from events.letters import DeadLetter, DeadLetterFilter, FailureGroup
from events.monitoring.flower.asking import Asked
from events.monitoring.flower.page import Page, authenticated

MOST = 50
MOST_GROUPS = 100


class LettersTab(Page):
    """/dead-letters"""

    tab = "letters"

    @authenticated
    async def get(self) -> None:
        asked = Asked.of(self.asked_for)
        wanted = asked.filter()
        if asked.group:
            wanted = await self.desk.of_group(asked.group, wanted)
        page = replace(wanted, limit=MOST)
        groups, letters = await asyncio.gather(
            self._groups(asked, wanted), self.desk.ask(lambda pipeline: pipeline.dead_letters.find(page))
        )
        if groups is None:
            count = await self.desk.ask(lambda pipeline: pipeline.dead_letters.count(wanted))
        else:
            count = sum(group.count for group in groups)
        self.show(
            "ledger-letters.html",
            asked=asked,
            groups=groups,
            most_groups=MOST_GROUPS,
            count=count,
            letters=letters,
            older=older(asked, letters),
        )

    async def _groups(self, asked: Asked, wanted: DeadLetterFilter) -> Sequence[FailureGroup] | None:
        if not asked:
            return await self.desk.groups()
        return await self.desk.ask(lambda pipeline: pipeline.dead_letters.groups(wanted))


def older(asked: Asked, letters: Sequence[DeadLetter]) -> str | None:
    """The query of the next page. What died in one transaction has one time, so the last ones are shown again."""
    if len(letters) < MOST or letters[-1].died_at is None:
        return None
    last, first = letters[-1].died_at, letters[0].died_at
    return asked.query(before=(last if last == first else last + timedelta(microseconds=1)).isoformat())
