"""Parked messages as values: messages that no worker can run, kept with their bytes until an operator decides."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class ParkedState(StrEnum):
    """A parked message waits until an operator says what becomes of it."""

    PARKED = "parked"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Parked:
    """A message that can't be run, as it came: its bytes, what stood around them, and why it was put aside."""

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
    """Which parked messages; empty fields match all. `discarded`: those that were discarded, instead."""

    ids: Collection[UUID] = field(default=())
    reason: str | None = None
    limit: int | None = None
    discarded: bool = False
