"""Dead letters as values: a letter, a filter, a group of letters that failed alike, and all letters at one moment."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from uuid import UUID


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that was given up, with everything that an operator needs to judge it.

    Attributes:
        attempts: all attempts; the first `attempts_before` of them don't count: see `counted`.
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
        """The attempts since the last replay, without those that were cut short, or that failed as part of a group."""
        return self.attempts - self.attempts_before


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters an operator wants; empty fields match all.

    Attributes:
        error: a part of the exception's type or text.
        since, before: the time at which the delivery died, or was discarded.
        discarded: True for discarded deliveries that can be restored, instead of dead letters.
        error_type, place: exactly this type and place, as in a FailureGroup.
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
        replayed: how many times letters of the group were replayed, and failed again.
        example: the text of one letter's error.
    """

    handler: str
    error_type: str
    place: str
    count: int
    replayed: int
    first_died_at: datetime | None
    last_died_at: datetime | None
    example: str

    @property
    def key(self) -> str:
        """A short name of the group that never changes."""
        return sha256("\n".join((self.handler, self.error_type, self.place)).encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Survey:
    """The dead letters at one moment: the newest of them, and the numbers of all.

    Attributes:
        letters: some of the letters, newest first.
        groups: the groups of all letters; None if they were not grouped.
        count: the number of all letters.
    """

    letters: Sequence[DeadLetter]
    groups: Sequence[FailureGroup] | None
    count: int
