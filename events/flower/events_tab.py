"""Events: the ledger in numbers and its newest events, of one snapshot; or a search for events."""

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
MOST = 50  # events on a page


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
        events, standing = await asyncio.gather(self._search(asked), self.backend.standing())
        overview = standing.overview
        types = overview.event_types if overview else ()
        if called is not None:
            events = called
        elif events is None and overview is not None:
            events = overview.newest
        self.show(
            "ledger-events.html",
            standing=standing,
            overview=overview,
            asked=asked,
            events=events,
            searching=any(asked.values()),
            older=older(asked, events or ()),
            types=sorted(types, key=lambda metrics: (-metrics.dead, -metrics.count, metrics.event_type)),
            State=State,
        )

    async def _search(self, asked: dict[str, str]) -> Sequence[Found] | None:
        """The events of a search; None if the user asked for none."""
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


def older(asked: dict[str, str], events: Sequence[Found]) -> str | None:
    """The query of the next page. Several events may have the same time, so that page repeats the last events."""
    if len(events) < (MOST if any(asked.values()) else NEWEST) or events[-1].published_at is None or asked["id"]:
        return None
    last, first = events[-1].published_at, events[0].published_at
    before = (last if last == first else last + timedelta(microseconds=1)).isoformat()
    return f"?{urlencode({name: text for name, text in asked.items() if text} | {'before': before})}"


async def events_called(backend: Backend, text: str) -> list[Found]:
    """The events with this id, which is ours or their senders'. Raises Complaint."""
    name = text.strip()
    if as_uuid(name) is not None:
        return await backend.ask(lambda pipeline: pipeline.history.called(name))
    events = await backend.ask(lambda pipeline: pipeline.history.find(EventFilter(sender_id=name)))
    if not events:
        event_id_of(name)
    return events


def event_id_of(text: Any) -> UUID:
    """The id that this text is. Raises Complaint if the text is not an id."""
    try:
        return UUID(str(text).strip())
    except ValueError:
        raise Complaint(
            400, f"{str(text)[:80]!r} is not an event id; an id looks like 01931c9e-0000-7000-8000-000000000000"
        ) from None
