"""Dead letters: what failed alike, and then each, newest first; the numbers and the letters are of one moment."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from events.flower.page import Page, authenticated
from events.flower.query import Asked
from events.ledger import DeadLetter, Survey

MOST = 50
MOST_GROUPS = 100


class LettersTab(Page):
    """/dead-letters"""

    tab = "letters"

    @authenticated
    async def get(self) -> None:
        asked = Asked.of(self.asked_for)
        seen, age = await self._survey(asked)
        self.show(
            "ledger-letters.html",
            asked=asked,
            groups=seen.groups,
            most_groups=MOST_GROUPS,
            count=seen.count,
            letters=seen.letters,
            older=older(asked, seen.letters),
            age=age,
        )

    async def _survey(self, asked: Asked) -> tuple[Survey, float]:
        if not asked:
            return await self.desk.dead()
        wanted = asked.filter()
        if asked.group:
            wanted = await self.desk.of_group(asked.group, wanted)
        wanted = replace(wanted, limit=MOST)
        return await self.desk.ask(lambda pipeline: pipeline.dead_letters.survey(wanted)), 0.0


def older(asked: Asked, letters: Sequence[DeadLetter]) -> str | None:
    """The query of the next page. What died in one transaction has one time, so the last ones are shown again."""
    if len(letters) < MOST or letters[-1].died_at is None:
        return None
    last, first = letters[-1].died_at, letters[0].died_at
    return asked.query(before=(last if last == first else last + timedelta(microseconds=1)).isoformat())
