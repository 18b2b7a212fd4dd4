"""What a relay asks of a store: contracts only. The code that keeps them is in events.store."""

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from events.ledger.dead_letters import DeadLetter
from events.ledger.records import Due, Express, Failure, FannedOut, Group, Handled, Missing, Settled, Wakeup


class Listener(Protocol):
    """Waits until a delivery may be due."""

    def wait(self, timeout: timedelta) -> bool:
        """Return when the ledger changed or `wake` was called (both: True), or after `timeout`. It may return early."""

    def wake(self) -> None:
        """End this wait, or the next if there is none; may be called from any thread."""

    def close(self) -> None: ...


class Outbox(Protocol):
    """What relays read and write to send due deliveries. Each method is one transaction, but for `due`
    and `arriving`, whose blocks are one each, and `listen`. Relays may call at once."""

    def fan_out(self, limit: int, express: Express | None = None) -> FannedOut:
        """Turn up to `limit` unprocessed events into deliveries. Events without a subscription wait.

        `express` allows to mark some deliveries as sent at once, where workers keep up and no other delivery waits. Of
        a backlog nothing is fanned out then: it is for `arriving`.
        """

    def arriving(
        self,
        limit: int,
        *,
        handlers: Collection[Handled] | None = None,
        queues: Collection[str] | None = None,
        but: Collection[str] = (),
    ) -> AbstractContextManager["Arriving"]:
        """Lock up to `limit` unprocessed events, and store their deliveries at the end of the block; see `due`.

        So the deliveries that are marked in the block are stored as sent, and not written a second time.

        Args:
            handlers, queues: only deliveries of these may be marked; None for all.
            but: leave events alone that are wanted in these queues only.
        """

    def settle_marked(self, limit: int) -> Settled:
        """Settle events that another program marked as processed; each event is looked at once.

        EVENTS_MARKED_BY_OTHERS says whether up to `limit` of them become deliveries all the same, or are left to that
        program.
        """

    def waiting(self) -> dict[str, timedelta]:
        """Return the queues that deliveries wait for, and the time until the earliest of each is due; zero if it is
        due.
        """

    def in_flight(self) -> dict[str, Counter[str]]:
        """Return the numbers of sent and running deliveries, by queue and handler."""

    def due(
        self,
        queue: str,
        limit: int,
        handlers: Collection[Handled] | None = None,
        but: Collection[str] = (),
        forms: Collection[tuple[str, str]] = (),
    ) -> AbstractContextManager["DueDeliveries"]:
        """Lock up to `limit` due deliveries of a queue, to be marked in the block; no other relay gets them meanwhile.

        The block is the transaction. When it has ended, the marked deliveries may be sent; if it ends by an error,
        nothing has changed. A delivery that is found though no living worker has its handler, or though the handler has
        another queue by now, is put where it belongs instead.

        Args:
            handlers: only deliveries of these; None for all.
            but: no deliveries of these handlers.
            forms: with `handlers`, event types, each with the fingerprint of our class. What a class of this
                fingerprint couldn't read is left to other workers, until nobody has taken it for some seconds.
        """

    def take_passed(
        self,
        queues: Collection[str],
        limit: int,
        stale_after: timedelta,
        handlers: Collection[Handled],
        forms: Collection[tuple[str, str]],
    ) -> list[Group]:
        """Mark up to `limit` due deliveries as sent that a worker has passed on, of these handlers, which this process
        has.

        For some seconds after they are passed on, `due` leaves such deliveries to this method.

        Args:
            forms: event types, each with the fingerprint of our class. A delivery that a class of this fingerprint
                couldn't read is left out.
        """

    def hand_back(self, wakeups: Collection[Wakeup], delay: timedelta) -> int:
        """Make deliveries that were not started pending again, due after `delay`. No attempt is used."""

    def pass_on(self, wakeups: Collection[Wakeup]) -> int:
        """As `hand_back`, for deliveries that this worker can't run but another may: due after a delay that grows each
        time.
        """

    def give_up(self, wakeup: Wakeup, failure: Failure) -> bool:
        """Make a delivery that can't be sent a dead letter; False if it no longer waits for this attempt."""

    def due_in(self, *, copies: bool) -> timedelta | None:
        """Return the time until the relay has work, zero if it has some now; None if none is in sight. One query.

        `copies`: a dead letter without a copy counts as work.
        """

    def listen(self) -> Listener: ...


class DueDeliveries(Protocol):
    """Due deliveries of one queue, in the order in which they are due; locked while the block of Outbox.due runs."""

    deliveries: Sequence[Due]

    def mark(self, groups: Sequence[Group], stale_after: timedelta) -> None:
        """Mark these deliveries as sent, the deliveries of a group as one message; the others stay due.

        Wake-ups that no worker has claimed when `stale_after` has passed may have got lost.
        """


class Arriving(Protocol):
    """The deliveries of new events, which are not stored yet.

    Attributes:
        deliveries: those that may be sent at once, of any queue, in the order of their events.
        fanned_out: what was stored; known when the block has ended.
    """

    deliveries: Sequence[Due]
    fanned_out: FannedOut

    def mark(self, groups: Sequence[Group], stale_after: timedelta, left: Collection[UUID] = ()) -> None:
        """See DueDeliveries; called once, if at all. Groups come back in `fanned_out.sent`, without deliveries that
        were stored before.

        Args:
            left: events that stay new, with all their deliveries.
        """


class Recovery(Protocol):
    """Finds what got lost: wake-ups, leases that ended, dead letters without a copy."""

    def missing(self, ended_ago: timedelta = timedelta(0)) -> Missing:
        """Say, by one query, whether the other methods would find anything; of leases, those that ended so long ago."""

    def renew(self, wakeups: Collection[Wakeup], stale_after: timedelta, holder: str) -> None:
        """Note that the worker `holder` holds these wake-ups; it does so again within the stale window."""

    def overdue(self) -> dict[str, int]:
        """Return the queues with sent deliveries older than the stale window, and the number of sent messages that no
        worker holds.
        """

    def resend(self, queue: str, missing: int) -> int:
        """Make the `missing` oldest overdue messages of a queue pending, and all messages whose holder fell silent.

        Returns the number of deliveries.
        """

    def unpause(self, limit: int) -> int:
        """Make up to `limit` paused deliveries pending again whose handlers aren't paused any more."""

    def bring_home(self, limit: int) -> int:
        """Put up to about `limit` deliveries where they belong, whose handler is back or has another queue."""

    def expire_leases(self, limit: int, outage: timedelta | None = None, ended_ago: timedelta = timedelta(0)) -> int:
        """Make running deliveries whose lease ended so long ago pending again, or dead after their last attempt.

        Which delivery of a group was to blame is unknown: the attempt is not counted, and each delivery is sent alone.
        If the database was away, `outage` ago, attempts whose leases ended since then are not counted either.
        """

    def is_away(self, error: BaseException) -> bool:
        """See Inbox.is_away."""

    def explained(self, error: BaseException) -> str:
        """Return one line for a log: what went wrong and, if the database refused, what to do about it."""

    def take_uncopied(self, limit: int) -> list[DeadLetter]:
        """Return dead letters of which the broker has no copy yet."""

    def mark_copied(self, letters: Collection[DeadLetter]) -> None: ...
