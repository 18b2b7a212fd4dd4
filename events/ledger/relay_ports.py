"""What a relay asks of a store. Contracts in words; the code that keeps them is in events.store."""

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Protocol

from events.ledger.dead_letters import DeadLetter
from events.ledger.records import Due, Express, Failure, FannedOut, Group, Handled, Missing, Settled, Wakeup


class Listener(Protocol):
    """Waits until something may be due."""

    def wait(self, timeout: timedelta) -> bool:
        """Return when the ledger changed, when `wake` was called (both: True), or after `timeout`. May be early."""

    def wake(self) -> None:
        """End the wait, now or the next; from any thread."""

    def close(self) -> None: ...


class Outbox(Protocol):
    """What the relay reads and writes to send what is due. Every method is one transaction; relays may call at once."""

    def fan_out(self, limit: int, express: Express | None = None) -> FannedOut:
        """Turn up to `limit` unprocessed events into deliveries. Events nobody subscribed to wait.

        `express` allows to mark some as sent at once: where workers keep up, nothing else waits, and few are new.
        """

    def settle_marked(self, limit: int) -> Settled:
        """Of events that another program marked as processed, up to `limit` become deliveries all the same, or are
        left to it, whichever EVENTS_MARKED_BY_OTHERS says. Each is looked at once."""

    def waiting(self) -> dict[str, timedelta]:
        """Queues that deliveries wait for, and the time until the earliest of each is due; zero if it is."""

    def in_flight(self) -> dict[str, Counter[str]]:
        """Sent and running deliveries, by queue and handler."""

    def due(
        self, queue: str, limit: int, handlers: Collection[Handled] | None = None, but: Collection[str] = ()
    ) -> AbstractContextManager["DueDeliveries"]:
        """Up to `limit` due deliveries of a queue, which no other relay gets while the block runs, to be marked in it.

        Of `handlers` (None: of all), `but` not of those. What it finds of a handler that no living worker has, or that
        has another queue by now, is put where it belongs instead. The block is the transaction: what was marked counts,
        and may be sent, when it has ended; if it ends by an error, everything is as it was.
        """

    def take_passed(
        self, queues: Collection[str], limit: int, stale_after: timedelta, handlers: Collection[Handled],
        forms: Collection[tuple[str, str]],
    ) -> list[Group]:  # fmt: skip
        """Mark up to `limit` due deliveries as sent that a worker has passed on: of these handlers, which we have.

        `forms`: event types, each with the fingerprint of our class; what one like it couldn't read is left out.
        For some seconds `due` leaves them to whoever asks so.
        """

    def hand_back(self, wakeups: Collection[Wakeup], delay: timedelta) -> int:
        """Deliveries that were not started after all: pending again, due after `delay`. No attempt is used."""

    def pass_on(self, wakeups: Collection[Wakeup]) -> int:
        """Like `hand_back` of what a worker can't run and another may: after a delay that grows each time."""

    def give_up(self, wakeup: Wakeup, failure: Failure) -> bool:
        """A delivery that can't be sent: a dead letter; False if it is not waiting for this attempt any more."""

    def due_in(self, *, copies: bool) -> timedelta | None:
        """Time until there is something to do (zero if there is); None if there never will be. One query.

        `copies`: a dead letter without a copy is something to do.
        """

    def listen(self) -> Listener: ...


class DueDeliveries(Protocol):
    """Due deliveries of one queue, in the order in which they are due; ours while the block of Outbox.due runs."""

    found: Sequence[Due]

    def mark(self, groups: Sequence[Group], stale_after: timedelta) -> None:
        """Mark these as sent, those of a group as one message; the others stay due.

        When `stale_after` has passed, those that nobody has claimed may have got lost.
        """


class Recovery(Protocol):
    """What went missing: wake-ups that got lost, leases that ended, dead letters without a copy."""

    def missing(self, ended_ago: timedelta = timedelta(0)) -> Missing:
        """Whether there is anything for the others to find, by one question; of leases those that ended so long ago."""

    def renew(self, wakeups: Collection[Wakeup], stale_after: timedelta, holder: str) -> None:
        """These wake-ups are in the hand of the worker `holder`, who says so again within the stale window."""

    def overdue(self) -> dict[str, int]:
        """Queues with sent deliveries older than the stale window; how many messages are sent and in nobody's hand."""

    def resend(self, queue: str, missing: int) -> int:
        """Of a queue's overdue messages the `missing` oldest become pending, and all whose holder fell silent.

        Returns the number of deliveries.
        """

    def unpause(self, limit: int) -> int:
        """Up to `limit` deliveries that are paused, though their handlers aren't any more, are pending again."""

    def bring_home(self, limit: int) -> int:
        """Up to about `limit` deliveries whose handler is back, or has another queue, go where they belong."""

    def expire_leases(self, limit: int, outage: timedelta | None = None, ended_ago: timedelta = timedelta(0)) -> int:
        """Running deliveries whose lease ended, so long ago: pending again, or dead if that was their last attempt.

        Of a group nobody knows which one was to blame: its attempt is not counted, and each is sent alone. If the
        database was away, `outage` ago, the attempts whose leases ended since are not counted either.
        """

    def is_away(self, error: BaseException) -> bool:
        """See Inbox.is_away."""

    def explained(self, error: BaseException) -> str:
        """One line for a log: what went wrong, and if it was the database that refused, what to do about it."""

    def take_uncopied(self, limit: int) -> list[DeadLetter]:
        """Dead letters of which the broker has no copy yet."""

    def mark_copied(self, letters: Collection[DeadLetter]) -> None: ...
