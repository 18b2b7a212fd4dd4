"""Events as they go out and come in by bridges: kinds of them, and a message as it arrives."""

import json
from datetime import UTC, datetime
from typing import Any

from pydantic import ConfigDict, Field

from events import DomainEvent
from events.bridges.cloudevents import incoming
from events.bridges.contract import Message, Received
from events.event import Metadata
from events.integration import IntegrationEvent

WHEN = datetime(2026, 11, 28, 9, 30, 1, 250_000, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Shelved(DomainEvent, aggregate_id="library"):
    library: str
    titles: tuple[str, ...] = ()


class Timed(DomainEvent):
    timestamp: int


class AllOwn(DomainEvent):
    eventId: str  # noqa: N815
    eventType: str  # noqa: N815
    aggregateId: str  # noqa: N815
    dateTimeOccurred: str  # noqa: N815
    timestamp: str


class Sealed(DomainEvent):
    eventSource: str = "web"  # noqa: N815
    eventSchemaVersion: str = "2024-01"  # noqa: N815
    eventCorrelationId: str = "c"  # noqa: N815
    eventCausationId: str = "c"  # noqa: N815
    eventForwardedBy: str = "web"  # noqa: N815
    specversion: str = "2"
    type: str = "t"
    data: str = "d"


class Versioned(DomainEvent):
    event_type: str = Field("Shelved", alias="eventType")
    eventSource: str = "web"  # noqa: N815
    eventSchemaVersion: int = 7  # noqa: N815

    model_config = ConfigDict(serialize_by_alias=True, populate_by_name=True)


class Billed(DomainEvent, masked=("iban", "card.number")):
    iban: str | None = None
    card: dict[str, str] | None = None
    amount: int


class PublicBill(IntegrationEvent, masked=("iban",)):
    iban: str


class GrownUp(DomainEvent, version=3):
    model_config = ConfigDict(serialize_by_alias=True, populate_by_name=True)

    card: str = Field(alias="cardNo")


BINARY = {"ce-specversion": "1.0", "ce-id": "17", "ce-source": "/them", "ce-type": "Shelved"}


def shelved() -> Shelved:
    metadata = Metadata(correlation_id="request-7", causation_id="c-1", traceparent=TRACE)
    return Shelved(library='Ü "1"', titles=("Dune",), occurred_at=WHEN, metadata=metadata)


def arrived(message: Message, *, headers: dict[str, str] | None = None, position: str = "1-0") -> Received:
    return Received(message.body, message.headers() if headers is None else headers, "events:X", position)


def accepted(received: Received) -> dict[str, Any]:
    envelope = incoming(received, "redis", lambda _: None, 10_000)
    return {"id": envelope.id, "data": json.loads(envelope.event_data), "aggregate": envelope.aggregate_id,
            "time": envelope.timestamp, "type": envelope.event_type, "meta": json.loads(envelope.metadata)}  # fmt: skip


WHOLE = {"specversion": "1.0", "id": "7", "source": "/them", "type": "Shelved"}
