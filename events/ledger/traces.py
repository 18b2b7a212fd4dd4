"""What the ledger knows of traces: the contexts in which events were published and handled."""

from collections.abc import Collection
from typing import Protocol
from uuid import UUID

Carrier = dict[str, str]  # the headers of W3C Trace Context, `traceparent` and `tracestate`, as far as there are any


class Traces(Protocol):
    """What the ledger knows of traces."""

    def of_events(self, event_ids: Collection[UUID]) -> dict[UUID, Carrier]:
        """The contexts in which events were published; without those that have none. One query."""

    def before(self, event_id: UUID, handler: str, token: int) -> str | None:
        """The traceparent of the last failed attempt of a delivery before the one with this token."""
