"""Dead letters as values: one of them, a filter, a group of those that failed alike, and all of them at one moment."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
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
