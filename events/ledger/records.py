"""States, and rows of the ledger as values: the records that the spine and its edges exchange.

A delivery goes through these states; one diagram, one table, one column:

    pending --send--> sent --claim--> running --commit--> succeeded
       ^               |                 |
       |<-- lost, -----'                 |---> dead --replay--> pending
       |    unknown handler              |       '--discard---> discarded
       '<-- retry, worker lost ----------'

While an operator has paused its handler, a delivery is `paused` instead of pending.

The meaning of `due_at` depends on the state. Pending: the time at which to send the delivery (HELD while no living
worker has its handler). Sent: the time from which the wake-up may have got lost. Running: the end of the lease.

An attempt has two numbers. Its `token` only grows (column `attempts`): the claim counts it, commits it before user code
runs, and every write of the attempt is fenced by it. No token is shown to people. People see the `attempt`: it counts
from 1 since the last replay, without the attempts that don't count (column `attempts_before`).
"""

import hashlib
import math
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from uuid import UUID

from events.ledger.envelope import Envelope


class State(StrEnum):
    """The states of a delivery: the diagram above says what leads into each of them, and out of it."""

    PENDING = "pending"
    SENT = "sent"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    DISCARDED = "discarded"
    PAUSED = "paused"


HELD = datetime(9999, 1, 1, tzinfo=UTC)  # the `due_at` of a delivery that waits until a worker has its handler again


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A handler wants an event type: a row that workers write when they start and that the relay fans out by.

    Attributes:
        masked: the fields of the event that are never shown to people.
        public: True if the event is an integration event.
    """

    event_type: str
    handler: str
    queue: str
    max_attempts: int
    most: int = 1  # the most deliveries that may share a message
    batch: bool = False  # True if the handler takes all deliveries of a message at once: in one call, or side by side
    linger: timedelta = timedelta(0)  # how long a batch waits for more deliveries; or ALONG_WITHIN
    masked: tuple[str, ...] = ()
    public: bool = False

    @property
    def definition(self) -> str:
        """A short name of the way in which its deliveries travel; equal code gives equal names."""
        linger = self.linger.total_seconds()
        facts: tuple[object, ...] = (self.queue, self.max_attempts, self.most, self.batch, linger)
        facts += ("public",) if self.public else ()
        return hashlib.blake2s(repr(facts).encode(), digest_size=8).hexdigest()


GROUP_TIME = 0.04  # seconds that a group may take
# How long a relay leaves a delivery to the processes that run others of its handler side by side, so that one of them
# takes it along without a message. It is told as the handler's `linger`: an odd time, which no batch handler says.
ALONG_WITHIN = timedelta(microseconds=40_100)
ONE_BY_ONE = math.inf  # in place of seconds: the handler's deliveries share no message, however little time they take


@dataclass(frozen=True, slots=True)
class Pace:
    """How a handler's deliveries may travel together: see Subscription.

    `seconds` is the time that one delivery takes. None if it was never measured; ONE_BY_ONE is a mark, not a time to
    show.
    """

    most: int = 1
    batch: bool = False
    linger: timedelta = timedelta(0)
    seconds: float | None = None

    @property
    def is_taken_along(self) -> bool:
        """Whether processes that run some of its deliveries take others along."""
        return self.batch and self.linger == ALONG_WITHIN


@dataclass(frozen=True, slots=True)
class Wakeup:
    """ "This delivery is due": the only message that a broker ever carries.

    Attributes:
        token: the token of the attempt that the wake-up is for; its claim must get this very token.
        event_type, attempt: known to the relay, and no part of the message; "" and 0 in a worker that has read the
            message.
    """

    event_id: UUID
    handler: str
    queue: str
    token: int
    event_type: str = field(default="", compare=False)
    attempt: int = field(default=0, compare=False)


Group = tuple[Wakeup, ...]  # the wake-ups of one handler that share a message; mostly a single wake-up


Handled = tuple[str, str]  # a handler, and the name of an event that it handles


@dataclass(frozen=True, slots=True)
class Express:
    """Which new deliveries the relay may send at once, ahead of those that wait.

    Attributes:
        events: more new events than this are a backlog, which is left to `arriving`.
        messages: the number of messages that there is room for.
        in_flight: the most deliveries of a queue that may be sent or running, including the new ones. With more, the
            workers of the queue don't keep up.
        handlers, queues: the express is for these alone; None for all.
        count_running: whether those that run count as on the way, which takes long while dead rows can't be removed.
    """

    events: int
    messages: int
    in_flight: int
    stale_after: timedelta
    handlers: Collection[Handled] | None = None
    queues: Collection[str] | None = None
    count_running: bool = True


class Mark(IntEnum):
    """What relays have done with an event. Column `processed` can't tell, since another program may write it."""

    NOT_YET = 0
    FANNED_OUT = 1
    ALL_THE_SAME = 2  # fanned out, though another program had marked the event as processed
    LEFT = 3  # left to the other program


@dataclass(frozen=True, slots=True)
class Missing:
    """Whether a relay has anything to recover, by kind: see events.ledger.Recovery.

    Attributes:
        leases: leases that ended.
        paused: paused deliveries whose handlers aren't paused any more, or old notes about such handlers.
        astray: deliveries whose handler is back, or has another queue.
        overdue: deliveries that were sent before the stale window.
        uncopied: dead letters of which the broker has no copy.
        marked: events that another program marked as processed, and for which no relay has settled that yet.
    """

    leases: bool
    paused: bool
    astray: bool
    overdue: bool
    uncopied: bool
    marked: bool


@dataclass(frozen=True, slots=True)
class FannedOut:
    """So many `events` became deliveries: some are marked as `sent` and have to be sent, the others are `waiting`.

    Attributes:
        backlog: more is new than the express may take, so nothing was done.
        waits: the events are few, but something in their queues waits already, or the workers there don't keep up.
        published: the number of events, by type.
        made: the number of deliveries, by event type and handler.
    """

    events: int = 0
    sent: Sequence[Group] = ()
    waiting: int = 0
    published: Counter[str] = field(default_factory=Counter, compare=False)
    made: Counter[tuple[str, str]] = field(default_factory=Counter, compare=False)
    backlog: bool = False
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """The events that another program had marked as processed, and that a relay has looked at.

    Attributes:
        looked_at: the number of these events.
        fanned_out: the events that were fanned out all the same.
        left: the events that were left to the other program, though they have a handler.
    """

    looked_at: int = 0
    fanned_out: FannedOut = FannedOut()
    left: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that has been due for `age` seconds; `alone` if it must not share a message again."""

    wakeup: Wakeup
    age: float
    alone: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that this worker may run, while its lease lasts.

    Attributes:
        age: seconds between the storing of the event and the claim.
        lease: the number of the message, if the claim is a lease of that and no write to the delivery's own row.
        taken: the time of the claim, by this process's own time.monotonic().
    """

    envelope: Envelope
    handler: str
    token: int  # fences the attempt's writes, only grows, and is never shown to people
    attempt: int  # counts from 1 since the last replay: people see this number, and retry policies count by it
    worker: str
    age: float = 0.0
    lease: int | None = None
    taken: float = field(default_factory=time.monotonic, compare=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """The error of a failed attempt, cut to a size that can be stored and shown."""

    error_type: str
    error: str
    traceback: str
    place: str = ""  # the module and function of the application in which the error happened
    traceparent: str = ""  # the traceparent of the attempt's span, if there was a span


ALIVE = timedelta(seconds=30)  # a worker that was seen within this time lives


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker that lives.

    Attributes:
        handlers: handler to event type to the fingerprint of the event's form.
        activity: handler to the recent attempts per second, by outcome.
        definitions: handler to event type to the definition of the subscription.
    """

    name: str  # of one process: the node name and a random part, so that host names may be reused
    host: str
    pid: int
    version: str
    pool: str
    concurrency: int
    pool_size: int
    queues: list[str]
    handlers: dict[str, dict[str, str]]
    clock_ahead: float = 0.0  # seconds by which the worker's clock is ahead of the database's
    started_at: datetime | None = None
    seen_at: datetime | None = None
    activity: dict[str, dict[str, float]] = field(default_factory=dict)
    definitions: dict[str, dict[str, str]] = field(default_factory=dict)

    def has(self, handler: str, event_type: str | None = None) -> bool:
        """Whether the worker has this handler; for this event type, if an event type is given."""
        theirs = self.handlers.get(handler)
        return theirs is not None and (event_type is None or event_type in theirs)
