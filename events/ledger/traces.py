"""The traces that the ledger knows: the contexts in which events were published and handled."""

from collections.abc import Collection
from typing import Protocol
from uuid import UUID

Carrier = dict[str, str]  # the headers of W3C Trace Context that there are: `traceparent`, `tracestate`


class Traces(Protocol):
    """The traces that the ledger knows."""

    def of_events(self, event_ids: Collection[UUID]) -> dict[UUID, Carrier]:
        """Return the contexts in which events were published, without events that have none. One query."""

    def before(self, event_id: UUID, handler: str, token: int) -> str | None:
        """Return the traceparent of the delivery's last failed attempt before the attempt with this token."""
