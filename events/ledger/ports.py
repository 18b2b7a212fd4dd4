"""What the spine asks of a store and of a transport. Contracts in words; the code that keeps them is in the edges."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from sqlalchemy import Connection

from events.ledger.envelope import Envelope
from events.ledger.letters import DeadLetter, Parked
from events.ledger.records import (
    Claim,
    Due,
    Express,
    Failure,
    FannedOut,
    Group,
    Handled,
    Missing,
    Pace,
    Settled,
    Subscription,
    Wakeup,
    WorkerInfo,
)


class EventLog(Protocol):
    """Where events are written."""

    def append(self, connection: Connection, envelopes: Sequence[Envelope]) -> None:
        """Write events in the caller's transaction, in one round trip. One that is stored already is left as it is.

        Raises EventIdTaken if one of their ids is that of an event with other content: then none of them is written,
        and the transaction goes on. See events.ledger.identity.
        """

    def append_alone(self, envelopes: Sequence[Envelope]) -> None:
        """Write events in a transaction of its own, durable on return.

        A connection that is lost on the way leaves open whether it was committed; their ids make it safe to try again.
        Raises PublishError if the database stays away; EventIdTaken as `append` does.
        """

    def stored(self, connection: Connection, ids: Collection[UUID]) -> dict[UUID, Envelope]:
        """The events with these ids, as far as they are there."""

    def begin(self) -> AbstractContextManager[Connection]:
        """A transaction of its own: committed, and durable, when the block ends without an error."""


class Listener(Protocol):
    """Waits until something may be due."""

    def wait(self, timeout: timedelta) -> bool:
        """Return when the ledger changed, when `wake` was called (both: True), or after `timeout`. May be early."""

    def wake(self) -> None:
        """End the wait, now or the next; from any thread."""

    def close(self) -> None: ...


class Subscriptions(Protocol):
    """Which handlers want which events, and how their deliveries travel."""

    def subscribe(self, subscriptions: Collection[Subscription]) -> None:
        """A starting worker has these: add what is missing, and change what was said by older code.

        While workers of several versions live, the newest definition of a subscription counts; what is masked by any
        stays masked. Nothing is removed: what this worker lacks may be another's.
        """

    def keep(self, subscriptions: Collection[Subscription]) -> None:
        """A living worker says so again; and notes what no living worker has, so that it isn't sent to anybody."""

    def paces(self) -> dict[str, Pace]:
        """Of every subscribed handler."""

    def masked(self) -> dict[str, set[str]]:
        """Event type to the fields that nobody is shown, as far as handlers know."""

    def event_types(self) -> dict[str, bool]:
        """Those that handlers are subscribed to, and whether they are public (events.integration).

        That say handlers that a living worker has, or else those that one had.
        """

    def note_pace(self, handler: str, seconds: float) -> None:
        """How long one delivery of it takes on average, as a worker measured it."""


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

    def take_due(
        self,
        queue: str,
        limit: int,
        stale_after: timedelta,
        handlers: Collection[Handled] | None,
        but: Collection[str],
        group: Callable[[Sequence[Due]], list[Group]],
    ) -> list[Group]:
        """Mark up to `limit` due deliveries of a queue as sent: of `handlers` (None: of all), `but` not of those.

        `group` says which of them share a message; those that it leaves out stay due. What it finds of a handler that
        no living worker has, or that has another queue by now, is put where it belongs instead.
        """

    def take_passed(
        self, queues: Collection[str], limit: int, stale_after: timedelta, handlers: Collection[Handled],
        forms: Collection[tuple[str, str]],
    ) -> list[Group]:  # fmt: skip
        """Mark up to `limit` due deliveries as sent that a worker has passed on: of these handlers, which we have.

        `forms`: event types, each with the fingerprint of our class; what one like it couldn't read is left out.
        For some seconds `take_due` leaves them to whoever asks so.
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


class Inbox(Protocol):
    """What a worker reads and writes around a handler's run. Claims of one call are of one handler."""

    def claim(self, handler: str, tokens: Mapping[UUID, int], worker: str, lease: timedelta) -> list[Claim]:
        """Count the attempts and take the deliveries, committed; without those not sent, or not for that token.

        `tokens`: by event id, as the wake-ups name them.
        """

    def extend(self, claims: Collection[Claim], lease: timedelta) -> int:
        """Move the end of the leases; how many are still ours."""

    def begin(self, *, eager: bool = False) -> AbstractContextManager[Connection]:
        """The handler's own transaction. `eager` takes locks at once where waiting for them may fail (SQLite)."""

    def begin_shared(self) -> AbstractContextManager["Shared"]:
        """A transaction of several deliveries, with all locks taken at once as in `begin`."""

    def lend(self, connection: Connection, handler: str) -> AbstractContextManager[Callable[[], bool]]:
        """While the block runs, a handler has this transaction, and is refused if it would end it: TransactionMisused.

        What it leaves there besides rows, such as a setting or a role, reaches neither our own statements nor whoever
        uses the connection next. Whether there is such a thing tells what is yielded.
        """

    def succeed(self, connection: Connection, claims: Sequence[Claim]) -> None:
        """Write the successes in the handler's transaction. Raises LeaseLost if any delivery is no longer ours."""

    def retry(self, claim: Claim, failure: Failure, delay: timedelta) -> bool:
        """The attempt failed, the next is due after `delay`; False if the delivery is no longer ours."""

    def bury(self, claim: Claim, failure: Failure) -> bool:
        """The attempt failed and was the last: a dead letter; False if the delivery is no longer ours."""

    def hand_back(self, claims: Collection[Claim], delay: timedelta, *, alone: bool = False) -> int:
        """Not run after all: pending again after `delay`, the attempt not counted; how many were still ours.

        `alone`: they don't share a message again.
        """

    def pass_on(self, claims: Collection[Claim], unread: str = "") -> int:
        """Like `hand_back` of what this worker can't run and another may: after a delay that grows each time.

        `unread`: the fingerprint of our event class, if it is that which can't read the event.
        """

    def release(self, worker_prefix: str) -> int:
        """Hand back at once whatever workers run whose names begin so; how many deliveries."""

    def abandon(self, handler: str, tokens: Mapping[UUID, int], failure: Failure, delay: timedelta) -> int:
        """The process that ran these is gone: like retry or bury, whichever the subscription's max_attempts says. How
        many it had in hand: those that have their outcome stay as they are.

        Of several nobody knows which one was to blame: see Recovery.expire_leases.
        """

    def known(self, handler: str, event_ids: Collection[UUID]) -> set[UUID]:
        """Those for which there is such a delivery, in whatever state."""

    def succeeded(self, claim: Claim) -> bool:
        """Whether this very attempt was committed as a success; waits for a transaction that is still in doubt."""

    def interrupt(self, claim: Claim, error: BaseException, most: int) -> bool:
        """The attempt was cut short by the database: pending again after a while, and not counted.

        False, and nothing is changed, if that was so `most` times already, or the delivery is no longer ours.
        """

    def take_back(self, handler: str, tokens: Mapping[UUID, int], worker: str) -> int:
        """Hand back what `claim` has taken for this worker without anybody being told, as its answer was lost."""

    def is_away(self, error: BaseException) -> bool:
        """Whether the database can't be reached, or can't be written to: to be tried again until it is back.

        Of what a handler raised: whether that is so of our database, not of one of its own.
        """

    def pardons(self, error: BaseException) -> int:
        """How often a delivery may fail by such an error and the attempt not be counted; 0: it is the handler's own.

        Often if the database is really away, now and then if only this connection was broken, as the handler itself
        may be what breaks it each time. It may look at the database.
        """

    def is_contention(self, error: BaseException) -> bool:
        """Whether the database, not the handler, failed: deadlock, serialization failure, locked file."""


class Shared(Protocol):
    """A transaction of several deliveries, one after another, each of which can be undone by itself.

    None shall feel another. KeepsToItself is raised, at once or by `end` and `undo`, if a handler does more than read
    and write rows: what was done in the transaction is of no use then, and the handler's deliveries run alone.
    """

    connection: Connection

    def begin_next(self) -> None:
        """From here on it is the next delivery's."""

    def secure(self) -> None:
        """To be called before the delivery can write anything."""

    def end(self) -> None:
        """The delivery went well."""

    def undo(self) -> None:
        """Take back all that the delivery did. Raises if the transaction is no longer the same."""

    def check(self) -> None:
        """Raises if the transaction is no longer the one that was begun: what was done in it is gone."""


class WorkerRegistry(Protocol):
    """Which workers live, and what each understands."""

    def announce(self, worker: WorkerInfo) -> None:
        """It lives from now on. Forgets those that were not seen for a day."""

    def renew(self, name: str, activity: Mapping[str, Mapping[str, float]]) -> bool:
        """It still lives, and this is what it does: see WorkerInfo. False if it is not known."""

    def gone(self, name: str) -> None:
        """It has ended in good order."""

    def alive(self, within: timedelta) -> list[WorkerInfo]:
        """Those seen within that time, by name."""

    def understood_elsewhere(self, handler: str, event_type: str, fingerprint: str, within: timedelta) -> bool:
        """Whether a living worker has this handler for another form of the event."""


class Transport(Protocol):
    """Carries wake-ups to workers. It may lose, repeat, delay and reorder them: the ledger decides."""

    name: str
    copies_dead_letters: bool

    def send(self, groups: Sequence[Group]) -> None:
        """Give each to the broker as one message.

        Raises:
            NotTaken: all have arrived but those that it names, each with the reason: Unsendable if it never can.
            TransportError: nobody knows which have arrived.
        """

    def send_dead(self, letters: Sequence[DeadLetter]) -> None:
        """Put copies into the dead-letter queue. Raises TransportError."""

    def send_parked(self, message: Parked) -> None:
        """Put a parked message back into its queue as it came. Raises TransportError."""

    def waiting(self, queue: str) -> int:
        """How many messages stand in the queue, not counting those in a worker's hand. Raises TransportError."""

    def held(self) -> Sequence[Group]:
        """What waits in this very process and dies with it; empty for a real broker."""

    def close(self) -> None: ...
