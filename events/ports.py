"""What the spine asks of a store and of a transport. Contracts in words; the code that keeps them is in the edges."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from sqlalchemy import Connection

from events.envelope import Envelope
from events.records import (
    Claim,
    DeadLetter,
    DeadLetterFilter,
    Failure,
    Parked,
    ParkedFilter,
    Subscription,
    Wakeup,
    WorkerInfo,
)  # fmt: skip


class EventLog(Protocol):
    """Where events are written."""

    def append(self, connection: Connection, envelopes: Sequence[Envelope]) -> None:
        """Write events in the caller's transaction, in one round trip. An id that exists already is left as it is."""

    def append_alone(self, envelopes: Sequence[Envelope]) -> None:
        """Write events in a transaction of its own, durable on return.

        A connection that is lost on the way leaves open whether it was committed; their ids make it safe to try again.
        Raises PublishError if the database stays away.
        """

    def begin(self) -> AbstractContextManager[Connection]:
        """A transaction of its own: committed, and durable, when the block ends without an error."""


class Listener(Protocol):
    """Waits until something may be due."""

    def wait(self, timeout: timedelta) -> None:
        """Return when the ledger changed, when `wake` was called, or after `timeout`. May return early."""

    def wake(self) -> None:
        """End the wait, now or the next; from any thread."""

    def close(self) -> None: ...


class Outbox(Protocol):
    """What the relay reads and writes. Every method is one transaction; any number of relays may call them at once."""

    def subscribe(self, subscriptions: Collection[Subscription]) -> None:
        """Write these subscriptions; rows of the same handlers for other event types go."""

    def queues(self) -> Sequence[str]:
        """The queues of all subscriptions."""

    def fan_out(self, limit: int) -> int:
        """Turn up to `limit` unprocessed events into deliveries; how many. Events nobody subscribed to wait."""

    def in_flight(self) -> dict[str, int]:
        """Sent and running deliveries per queue."""

    def take_due(
        self, queue: str, limit: int, stale_after: timedelta, handlers: Collection[str] | None
    ) -> list[Wakeup]:
        """Mark up to `limit` due deliveries of a queue as sent; only of `handlers`, unless that is None."""

    def hand_back(self, wakeups: Collection[Wakeup], delay: timedelta) -> int:
        """Deliveries that were not started after all: pending again, due after `delay`. No attempt is used."""

    def give_up(self, wakeup: Wakeup, failure: Failure) -> bool:
        """A delivery that can't be sent: a dead letter; False if it is not waiting for this attempt any more."""

    def renew(self, wakeups: Collection[Wakeup], stale_after: timedelta, holder: str) -> None:
        """These wake-ups are in the hand of the worker `holder`, who says so again within the stale window."""

    def overdue(self) -> dict[str, int]:
        """Queues with sent deliveries that are older than the stale window; how many are sent and in nobody's hand."""

    def resend(self, queue: str, missing: int) -> int:
        """Of a queue's overdue deliveries the `missing` oldest become pending, and all whose holder fell silent."""

    def expire_leases(self, limit: int) -> int:
        """Running deliveries whose lease ended: pending again, or dead if that was their last attempt."""

    def take_uncopied(self, limit: int) -> list[DeadLetter]:
        """Dead letters of which the broker has no copy yet."""

    def mark_copied(self, letters: Collection[DeadLetter]) -> None: ...

    def due_in(self) -> timedelta | None:
        """Time until the next delivery is due (zero if one is, or an event waits for fan-out); None if none will be."""

    def listen(self) -> Listener: ...


class Inbox(Protocol):
    """What a worker reads and writes around a handler's run."""

    def claim(self, event_id: UUID, handler: str, attempt: int, worker: str, lease: timedelta) -> Claim | None:
        """Count the attempt and take the delivery, committed; None if it is not sent, or not for this attempt."""

    def extend(self, claim: Claim, lease: timedelta) -> bool:
        """Move the end of the lease; False if the delivery is no longer ours."""

    def begin(self, *, eager: bool = False) -> AbstractContextManager[Connection]:
        """The handler's own transaction. `eager` takes locks at once where waiting for them may fail (SQLite)."""

    def succeed(self, connection: Connection, claim: Claim) -> None:
        """Write the success in the handler's transaction. Raises LeaseLost if the delivery is no longer ours."""

    def retry(self, claim: Claim, failure: Failure, delay: timedelta) -> bool:
        """The attempt failed, the next is due after `delay`; False if the delivery is no longer ours."""

    def bury(self, claim: Claim, failure: Failure) -> bool:
        """The attempt failed and was the last: a dead letter; False if the delivery is no longer ours."""

    def hand_back(self, claim: Claim, delay: timedelta) -> bool:
        """Not run after all: pending again after `delay`, the attempt not counted; False if no longer ours."""

    def release(self, worker_prefix: str) -> int:
        """Hand back at once whatever workers run whose names begin so; how many deliveries."""

    def abandon(self, event_id: UUID, handler: str, attempt: int, failure: Failure, delay: timedelta) -> bool:
        """Like retry or bury, whichever the subscription's max_attempts says, when only the message is at hand."""

    def knows(self, event_id: UUID, handler: str) -> bool:
        """Whether there is such a delivery, in whatever state."""

    def succeeded(self, claim: Claim) -> bool:
        """Whether this very attempt was committed as a success; waits for a transaction that is still in doubt."""

    def is_away(self, error: BaseException) -> bool:
        """Whether the database can't be reached or has no room: to be tried again until it is back."""

    def is_contention(self, error: BaseException) -> bool:
        """Whether the database, not the handler, failed: deadlock, serialization failure, locked file."""


class DeadLetterBox(Protocol):
    """The dead letters of the ledger."""

    def find(self, wanted: DeadLetterFilter) -> list[DeadLetter]:
        """Newest first."""

    def count(self, wanted: DeadLetterFilter) -> int: ...

    def replay(self, wanted: DeadLetterFilter) -> int:
        """Due at once, with all its attempts; how many were. Only dead ones: a second click does nothing."""

    def discard(self, wanted: DeadLetterFilter) -> int:
        """Given up for good; the row stays. How many were."""


class WorkerRegistry(Protocol):
    """Which workers live, and what each understands."""

    def announce(self, worker: WorkerInfo) -> None:
        """It lives from now on. Forgets those that were not seen for a day."""

    def renew(self, name: str) -> bool:
        """It still lives; False if it is not known."""

    def gone(self, name: str) -> None:
        """It has ended in good order."""

    def alive(self, within: timedelta) -> list[WorkerInfo]:
        """Those seen within that time, by name."""

    def understood_elsewhere(self, handler: str, event_type: str, fingerprint: str, within: timedelta) -> bool:
        """Whether a living worker has this handler for another form of the event."""


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


class Transport(Protocol):
    """Carries wake-ups to workers. It may lose, repeat, delay and reorder them: the ledger decides."""

    name: str
    copies_dead_letters: bool

    def send(self, wakeups: Sequence[Wakeup]) -> None:
        """Give all to the broker. Raises TransportError if any may not have arrived, Unsendable if one never can."""

    def send_dead(self, letters: Sequence[DeadLetter]) -> None:
        """Put copies into the dead-letter queue. Raises TransportError."""

    def send_parked(self, message: Parked) -> None:
        """Put a parked message back into its queue as it came. Raises TransportError."""

    def waiting(self, queue: str) -> int:
        """How many messages stand in the queue, not counting those in a worker's hand. Raises TransportError."""

    def held(self) -> Sequence[Wakeup]:
        """What waits in this very process and dies with it; empty for a real broker."""

    def close(self) -> None: ...
