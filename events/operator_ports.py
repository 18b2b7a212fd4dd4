"""What operators ask of the ledger: contracts that the store keeps."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from events.history import EventFilter, EventRecord, Found
from events.letters import DeadLetter, DeadLetterFilter, FailureGroup, Parked, ParkedFilter, Pruned, Standing


class DeadLetterBox(Protocol):
    """The dead letters of the ledger. What is done to them is remembered, with who did it; twice does nothing."""

    def find(self, wanted: DeadLetterFilter) -> list[DeadLetter]:
        """Newest first."""

    def count(self, wanted: DeadLetterFilter) -> int: ...

    def groups(self, wanted: DeadLetterFilter) -> list[FailureGroup]:
        """The largest first."""

    def replay(self, wanted: DeadLetterFilter, actor: str) -> int:
        """Due at once, with all its attempts, the oldest first; how many were. Only dead ones."""

    def discard(self, wanted: DeadLetterFilter, actor: str) -> int:
        """Given up, until they are restored or pruned; the rows stay. How many were."""

    def restore(self, wanted: DeadLetterFilter, actor: str) -> int:
        """What was discarded is a dead letter again; how many were."""


class History(Protocol):
    """What became of events."""

    def event(self, event_id: UUID) -> EventRecord | None:
        """One event with its deliveries, its attempts that failed, what operators did and what it caused."""

    def find(self, wanted: EventFilter) -> list[Found]:
        """Newest first."""


class ParkingLot(Protocol):
    """Messages that are no wake-up of ours."""

    def park(self, message: Parked) -> None:
        """Keep a message, durable on return."""

    def find(self, wanted: ParkedFilter) -> list[Parked]:
        """Those still parked, newest first."""

    def counts(self) -> dict[str, int]:
        """How many are parked, by reason."""

    def replay(self, wanted: ParkedFilter, send: Callable[[Parked], None]) -> int:
        """Give each to `send` and mark it replayed, one transaction a message; how many. A second click finds none."""

    def discard(self, wanted: ParkedFilter) -> int:
        """Given up for good; the rows stay. How many were."""


class Gauges(Protocol):
    """What is counted now and then, for those who watch."""

    def read(self) -> Standing:
        """By the indexes on what is unfinished: never all that is stored."""


class Retention(Protocol):
    """Forgets what is finished and old, for an operator."""

    def prune(self, older_than: timedelta, batch: int, *, dry_run: bool = False) -> Iterator[Pruned]:
        """Delete events of that age whose deliveries all succeeded or were discarded as long ago, with these, and
        parked messages that were closed as long ago; a transaction for each `batch` events that it looks at. Yields
        what each did, so that whoever stops it loses nothing of what is done."""
