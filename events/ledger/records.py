"""What passes between the spine and its edges: states, and rows of the ledger as values.

A delivery goes through these states; one diagram, one table, one column:

    pending --send--> sent --claim--> running --commit--> succeeded
       ^               |                 |
       |<-- lost, -----'                 |---> dead --replay--> pending
       |    unknown handler              |       '--discard---> discarded
       '<-- retry, worker lost ----------'

While an operator has paused its handler, a delivery is `paused` instead of pending.

`due_at` means: pending, when to send (HELD while no living worker has its handler); sent, when to ask whether the wake-
up got lost; running, when the lease ends.
An attempt has two numbers. Its `token` only grows (column `attempts`): it is counted in the claim, committed before
user code runs, and every write of the attempt is fenced by it. Nobody is shown a token. People see the `attempt`:
counted from 1 since the last replay, without those that don't count (column `attempts_before`).
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
    """Who enters and leaves each state is in the diagram above."""

    PENDING = "pending"
    SENT = "sent"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    DISCARDED = "discarded"
    PAUSED = "paused"


HELD = datetime(9999, 1, 1, tzinfo=UTC)  # due when a worker has its handler again


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A handler wants an event type: a row that workers write when they start and that the relay fans out by.

    `masked`: fields of the event that nobody is shown. `public`: it is an integration event.
    """

    event_type: str
    handler: str
    queue: str
    max_attempts: int
    most: int = 1  # deliveries that may share a message
    batch: bool = False  # the handler takes them all in one call
    linger: timedelta = timedelta(0)  # how long a batch waits for more
    masked: tuple[str, ...] = ()
    public: bool = False

    @property
    def definition(self) -> str:
        """A short name of how its deliveries travel, the same wherever code says the same."""
        said: tuple[object, ...] = (
            self.queue, self.max_attempts, self.most, self.batch, self.linger.total_seconds()
        )  # fmt: skip
        said += ("public",) if self.public else ()
        return hashlib.blake2s(repr(said).encode(), digest_size=8).hexdigest()


ONE_BY_ONE = math.inf  # seconds, a mark in their place: its deliveries share no message, whatever one takes


@dataclass(frozen=True, slots=True)
class Pace:
    """How a handler's deliveries may travel together: see Subscription.

    `seconds` that one takes; None if untried, ONE_BY_ONE if it is not for people to read.
    """

    most: int = 1
    batch: bool = False
    linger: timedelta = timedelta(0)
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Wakeup:
    """ "This delivery is due": all that a broker ever carries.

    Attributes:
        token: of the attempt that it is for; its claim must get this very token.
        event_type, attempt: the relay knows them, and they are no part of the message; "" and 0 where it was read.
    """

    event_id: UUID
    handler: str
    queue: str
    token: int
    event_type: str = field(default="", compare=False)
    attempt: int = field(default=0, compare=False)


Group = tuple[Wakeup, ...]  # wake-ups of one handler that share a message; mostly one


Handled = tuple[str, str]  # a handler, and the name of an event that it handles


@dataclass(frozen=True, slots=True)
class Express:
    """Which new deliveries need not wait for others.

    Attributes:
        events: more than so many new ones are a backlog, and none is sent at once.
        messages: that there is room for.
        in_flight: of a queue, sent and running, with the new ones. With more, its workers don't keep up.
        handlers, queues: of these; None for all.
    """

    events: int
    messages: int
    in_flight: int
    stale_after: timedelta
    handlers: Collection[Handled] | None = None
    queues: Collection[str] | None = None


class Mark(IntEnum):
    """What relays have made of an event. That alone: `processed` may be what another program says of it."""

    NOT_YET = 0
    FANNED_OUT = 1
    ALL_THE_SAME = 2  # fanned out, though another program had marked it as processed
    LEFT = 3  # to that program


@dataclass(frozen=True, slots=True)
class Missing:
    """Whether there is any of it, of what a relay looks after: see events.ledger.Recovery.

    Attributes:
        leases: that ended.
        paused: deliveries whose handlers aren't paused any more, or notes of such handlers that are old.
        astray: handlers that are back, or have another queue.
        overdue: deliveries that were sent before the stale window.
        uncopied: dead letters of which the broker has no copy.
        marked: events that another program marked as processed, and nobody has settled.
    """

    leases: bool
    paused: bool
    astray: bool
    overdue: bool
    uncopied: bool
    marked: bool


@dataclass(frozen=True, slots=True)
class FannedOut:
    """So many `events` became deliveries: some are marked as `sent` and have to be, the others are `waiting`.

    Attributes:
        published: events, by type.
        made: deliveries, by event type and handler.
    """

    events: int = 0
    sent: Sequence[Group] = ()
    waiting: int = 0
    published: Counter[str] = field(default_factory=Counter, compare=False)
    made: Counter[tuple[str, str]] = field(default_factory=Counter, compare=False)


@dataclass(frozen=True, slots=True)
class Settled:
    """Events that another program had marked as processed.

    Attributes:
        looked_at: how many there were.
        fanned_out: those that were all the same.
        left: those that were not, though there is a handler for them.
    """

    looked_at: int = 0
    fanned_out: FannedOut = FannedOut()
    left: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that is due since `age` seconds; `alone` if it must not share a message again."""

    wakeup: Wakeup
    age: float
    alone: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that is ours to run, while its lease lasts.

    Attributes:
        age: seconds since its event was stored, when it was claimed.
        taken: when that was, by this process's own time.monotonic().
    """

    envelope: Envelope
    handler: str
    token: int  # fences its writes, grows for ever, and is shown to nobody
    attempt: int  # since the last replay, from 1: what people see, and what retry policies count
    worker: str
    age: float = 0.0
    taken: float = field(default_factory=time.monotonic, compare=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed, cut to a size that can be stored and shown."""

    error_type: str
    error: str
    traceback: str
    place: str = ""  # module and function of the application in which it happened
    traceparent: str = ""  # of the attempt's span, if there was one


ALIVE = timedelta(seconds=30)  # a worker that was seen within this lives


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker that lives.

    Attributes:
        handlers: handler to event type to fingerprint of the event's form.
        activity: handler to what it does a second, by outcome, as of late.
        definitions: handler to event type to the definition of the subscription.
    """

    name: str  # of one process: node name and a token, so that host names may be reused
    host: str
    pid: int
    version: str
    pool: str
    concurrency: int
    pool_size: int
    queues: list[str]
    handlers: dict[str, dict[str, str]]
    clock_ahead: float = 0.0  # seconds, of the database's clock
    started_at: datetime | None = None
    seen_at: datetime | None = None
    activity: dict[str, dict[str, float]] = field(default_factory=dict)
    definitions: dict[str, dict[str, str]] = field(default_factory=dict)

    def has(self, handler: str, event_type: str | None = None) -> bool:
        """Whether it has this handler; for this event type, if one is given."""
        theirs = self.handlers.get(handler)
        return theirs is not None and (event_type is None or event_type in theirs)
