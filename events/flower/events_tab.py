"""Events: the ledger in numbers and its newest events, of one moment; or a search for events."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from events.flower.backend import NEWEST, Backend
from events.flower.complaints import Complaint
from events.flower.page import Page, authenticated
from events.flower.query import asked_time
from events.ledger import EventFilter, Found, State, as_uuid

FIELDS = ("id", "aggregate", "event", "correlation", "since", "before")
MOST = 50


class EventsTab(Page):
    """/events"""

    tab = "events"

    @authenticated
    async def get(self) -> None:
        asked = {name: self.asked_for(name).strip() for name in FIELDS}
        called = await events_called(self.backend, asked["id"]) if asked["id"] else None
        if called is not None and len(called) == 1:
            self.redirect(self.reverse_url("ledger_event", called[0].event_id))
            return
        found, standing = await asyncio.gather(self._search(asked), self.backend.standing())
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
            since=asked_time(asked["since"]),
            before=asked_time(asked["before"]),
            limit=MOST,
            correlation_id=asked["correlation"] or None,
        )
        return await self.backend.ask(lambda pipeline: pipeline.history.find(wanted))


def older(asked: dict[str, str], found: Sequence[Found]) -> str | None:
    """The query of the next page. What was published in one moment has one time, so the last ones are shown again."""
    if len(found) < (MOST if any(asked.values()) else NEWEST) or found[-1].published_at is None or asked["id"]:
        return None
    last, first = found[-1].published_at, found[0].published_at
    before = (last if last == first else last + timedelta(microseconds=1)).isoformat()
    return f"?{urlencode({name: text for name, text in asked.items() if text} | {'before': before})}"


async def events_called(backend: Backend, text: str) -> list[Found]:
    """The events that are meant by an id, which may be their senders'. Raises Complaint."""
    name = text.strip()
    if as_uuid(name) is not None:
        return await backend.ask(lambda pipeline: pipeline.history.called(name))
    found = await backend.ask(lambda pipeline: pipeline.history.find(EventFilter(sender_id=name)))
    if not found:
        event_id_of(name)
    return found


def event_id_of(text: Any) -> UUID:
    """Raises Complaint."""
    try:
        return UUID(str(text).strip())
    except ValueError:
        raise Complaint(
            400, f"{str(text)[:80]!r} is no event id: they look like 01931c9e-0000-7000-8000-000000000000"
        ) from None
