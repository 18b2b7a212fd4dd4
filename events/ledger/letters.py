"""What was given up or put aside, as values: dead letters, parked messages, and what operators do with them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that was given up, with everything that an operator needs to judge it.

    Attributes:
        attempts: all of them; of these the first `attempts_before` don't count: see `counted`.
    """

    event_id: UUID
    handler: str
    queue: str
    event_type: str
    aggregate_id: str
    event_data: str
    metadata: str
    attempts: int
    attempts_before: int
    replays: int
    worker: str | None
    error_type: str
    error: str
    traceback: str
    place: str
    published_at: datetime | None
    first_started_at: datetime | None
    died_at: datetime | None

    @property
    def counted(self) -> int:
        """The attempts since the last replay, without those that were cut short, or failed in company."""
        return self.attempts - self.attempts_before


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters; empty fields match all.

    Attributes:
        error: a part of the exception's type or text.
        since, before: when they died, or were discarded.
        discarded: instead of dead letters, those that were discarded and can be restored.
        error_type, place: exactly these, as those of a FailureGroup are.
    """

    handler: str | None = None
    event_type: str | None = None
    aggregate_id: str | None = None
    error: str | None = None
    since: datetime | None = None
    before: datetime | None = None
    event_ids: Collection[UUID] = field(default=())
    error_type: str | None = None
    place: str | None = None
    limit: int | None = None
    discarded: bool = False


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Dead letters that failed alike: one handler, one exception, one place in the application.

    Attributes:
        replayed: times that letters of it were replayed, and failed again.
    """

    handler: str
    error_type: str
    place: str
    count: int
    replayed: int
    first_died_at: datetime | None
    last_died_at: datetime | None
    example: str  # what one of them said

    @property
    def key(self) -> str:
        """Short, and the same for the same group at any time."""
        return sha256("\n".join((self.handler, self.error_type, self.place)).encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Survey:
    """Dead letters at one moment: some of them, newest first, and all of them in numbers.

    Attributes:
        groups: of all of them; None if they were not grouped.
        count: of all of them.
    """

    letters: Sequence[DeadLetter]
    groups: Sequence[FailureGroup] | None
    count: int


class Action(StrEnum):
    """What an operator does to a delivery."""

    REPLAY = "replay"
    DISCARD = "discard"
    RESTORE = "restore"
    EDIT = "edit"  # discarded, for the sake of a corrected copy
    PAUSE = "pause"
    RESUME = "resume"
    RETIRE = "retire"
    REVOKE = "revoke"  # refused
    TERMINATE = "terminate"


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


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was deleted, or would be."""

    events: int = 0
    deliveries: int = 0
    parked: int = 0

    def __add__(self, other: "Pruned") -> "Pruned":
        return Pruned(self.events + other.events, self.deliveries + other.deliveries, self.parked + other.parked)
