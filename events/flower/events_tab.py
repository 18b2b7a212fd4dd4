"""Events: the ledger in numbers and its newest events, of one moment; or a search for events."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from events.flower.backend import NEWEST, Desk
from events.flower.complaints import Trouble
from events.flower.page import Page, authenticated
from events.flower.query import moment
from events.ledger import EventFilter, Found, State, as_uuid

FIELDS = ("id", "aggregate", "event", "correlation", "since", "before")
MOST = 50


class EventsTab(Page):
    """/events"""

    tab = "events"

    @authenticated
    async def get(self) -> None:
        asked = {name: self.asked_for(name).strip() for name in FIELDS}
        called = await called_so(self.desk, asked["id"]) if asked["id"] else None
        if called is not None and len(called) == 1:
            self.redirect(self.reverse_url("ledger_event", called[0].event_id))
            return
        found, standing = await asyncio.gather(self._search(asked), self.desk.standing())
        seen = standing.overview
        types = seen.event_types if seen else ()
        if called is not None:
            found = called
        elif found is None and seen is not None:
            found = seen.newest
        self.show(
            "ledger-events.html",
            standing=standing,
            seen=seen,
            asked=asked,
            found=found,
            searching=any(asked.values()),
            older=older(asked, found or ()),
            types=sorted(types, key=lambda one: (-one.dead, -one.count, one.event_type)),
            State=State,
        )

    async def _search(self, asked: dict[str, str]) -> Sequence[Found] | None:
        """None if nothing was asked for."""
        if not any(asked.values()):
            return None
        wanted = EventFilter(
            event_type=asked["event"] or None,
            aggregate_id=asked["aggregate"] or None,
            since=moment(asked["since"]),
            before=moment(asked["before"]),
            limit=MOST,
            correlation_id=asked["correlation"] or None,
        )
        return await self.desk.ask(lambda pipeline: pipeline.history.find(wanted))


def older(asked: dict[str, str], found: Sequence[Found]) -> str | None:
    """The query of the next page. What was published in one moment has one time, so the last ones are shown again."""
    if len(found) < (MOST if any(asked.values()) else NEWEST) or found[-1].published_at is None or asked["id"]:
        return None
    last, first = found[-1].published_at, found[0].published_at
    before = (last if last == first else last + timedelta(microseconds=1)).isoformat()
    return f"?{urlencode({name: text for name, text in asked.items() if text} | {'before': before})}"


async def called_so(desk: Desk, text: str) -> list[Found]:
    """The events that are meant by an id, which may be their senders'. Raises Trouble."""
    name = text.strip()
    if as_uuid(name) is not None:
        return await desk.ask(lambda pipeline: pipeline.history.called(name))
    found = await desk.ask(lambda pipeline: pipeline.history.find(EventFilter(sender_id=name)))
    if not found:
        event_id_of(name)
    return found


def event_id_of(text: Any) -> UUID:
    """Raises Trouble."""
    try:
        return UUID(str(text).strip())
    except ValueError:
        raise Trouble(
            400, f"{str(text)[:80]!r} is no event id: they look like 01931c9e-0000-7000-8000-000000000000"
        ) from None
