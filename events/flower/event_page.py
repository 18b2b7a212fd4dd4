"""One event: its data, its deliveries, and a timeline of what happened and who did it."""

import json
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from flower.utils.tasks import get_task_by_id

from events.flower.events_tab import events_called
from events.flower.page import Page, authenticated
from events.ledger import EventRecord, State, timeline
from events.transport import task_id

MOST_CAUSED = 50  # events, which this event caused, on its page


class EventPage(Page):
    """/events/<id>"""

    tab = "events"

    @authenticated
    async def get(self, event_id: str) -> None:
        events = await events_called(self.backend, event_id)
        if len(events) > 1:
            self.redirect(f"{self.reverse_url('ledger_events')}?{urlencode({'id': event_id})}")
            return
        wanted = events[0].event_id
        event = await self.backend.ask(lambda pipeline: pipeline.history.event(wanted))
        self.show(
            "ledger-event.html",
            event=event,
            timeline=timeline(event),
            cause=cause_of(event),
            tasks=self._tasks(event),
            most_caused=MOST_CAUSED,
            State=State,
        )

    def _tasks(self, event: EventRecord) -> dict[str, str]:
        """The Celery task of each delivery, by handler, if Flower remembers the task. Messages of several have none."""
        ids = {delivery.handler: task_id(event.event_id, delivery.handler) for delivery in event.deliveries}
        remembered: Any = self.application.events
        return {handler: task for handler, task in ids.items() if get_task_by_id(remembered, task) is not None}


def cause_of(event: EventRecord) -> UUID | None:
    """The event whose handler published this one."""
    try:
        return UUID(json.loads(event.metadata)["causation_id"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
