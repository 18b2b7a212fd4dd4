"""Parked messages as values: messages that no worker can run, kept with their bytes until an operator decides."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class ParkedState(StrEnum):
    """The states of a parked message: it waits until an operator replays or discards it."""

    PARKED = "parked"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Parked:
    """A message that can't be run, as it came: its bytes, its properties, and the reason for which it was put aside."""

    id: UUID
    queue: str
    reason: str  # one of a few words, to count by
    detail: str
    body: bytes
    properties: dict[str, Any]  # headers, content_type, content_encoding, raw: see events.worker.consumer
    worker: str | None = None
    parked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedFilter:
    """Which parked messages an operator wants; empty fields match all.

    Attributes:
        discarded: True for discarded messages, instead of parked ones.
    """

    ids: Collection[UUID] = field(default=())
    reason: str | None = None
    limit: int | None = None
    discarded: bool = False
