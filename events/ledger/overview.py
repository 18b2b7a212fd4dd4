"""The ledger in numbers: the read model of `events status`, `events.metrics()` and Flower's pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from events.ledger.history import Found
from events.ledger.records import State, WorkerInfo

LATELY = 60.0  # the seconds that count as "lately"


@dataclass(frozen=True, slots=True)
class EventMetrics:
    """The numbers of one event type.

    Attributes:
        count: the events in the ledger.
        error_count: the attempts of its handlers that failed.
        waiting: the events that are not yet fanned out.
        lately: the events stored within the last minute.
        deliveries: the number of deliveries, by state.
    """

    event_type: str
    count: int = 0
    error_count: int = 0
    waiting: int = 0
    lately: int = 0
    deliveries: Mapping[str, int] = field(default_factory=dict)

    @property
    def dead(self) -> int:
        return self.deliveries.get(State.DEAD, 0)


@dataclass(frozen=True, slots=True)
class UnhandledType:
    """An event type without a subscription; `oldest` is the time at which its first event occurred."""

    event_type: str
    count: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Orphan:
    """An event type of a handler that no living worker has: its deliveries wait.

    Attributes:
        since: the time at which this was noticed; None if it wasn't noticed yet, or the handler is no longer subscribed
            to the event type.
        waiting: the deliveries that no worker has begun.
    """

    event_type: str
    since: datetime | None
    waiting: int


@dataclass(frozen=True, slots=True)
class HandlerMetrics:
    """The numbers of one handler.

    Attributes:
        queue: the handler's queue; "" if its subscription is gone.
        error_count: the handler's attempts that failed.
        workers: the living workers that have the handler.
        seconds: the seconds that one delivery takes, as workers measured; None if unknown.
        one_by_one: True if the handler's deliveries share no message, since a group of them did not end well, or the
            handler changes more than rows. Then `seconds` is None.
        rates: the attempts per second that living workers report, by outcome.
        changed_by, changed_at: the operator that paused or resumed the handler, and the time; None if that did not
            happen lately.
        orphans: those event types of the handler for which no living worker has it.
    """

    handler: str
    queue: str = ""
    event_types: Sequence[str] = ()
    paused: bool = False
    changed_by: str | None = None
    changed_at: datetime | None = None
    workers: int = 0
    seconds: float | None = None
    one_by_one: bool = False
    deliveries: Mapping[str, int] = field(default_factory=dict)
    error_count: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)
    orphans: Sequence[Orphan] = ()

    @property
    def waiting(self) -> int:
        """The deliveries that no worker has begun, and those that will be made of events."""
        return sum(self.deliveries.get(state, 0) for state in (State.PENDING, State.SENT, State.PAUSED))

    @property
    def dead(self) -> int:
        return self.deliveries.get(State.DEAD, 0)


@dataclass(frozen=True, slots=True)
class MarkedByOthers:
    """Events with a handler that another program marked as processed before the relay fanned them out.

    Attributes:
        waiting: the events that the relay has yet to look at.
        handled: the events of the last day that their handlers run all the same.
        left: the events of the last day that are left to the other program, or whose handlers subscribed later.
    """

    waiting: int = 0
    handled: int = 0
    left: int = 0

    def told(self) -> str:
        """Return these numbers as a sentence; "" if there are no such events."""
        parts = [f"{self.handled:,} of the last day were handled all the same"] if self.handled else []
        parts += [f"{self.left:,} of the last day were left to it"] if self.left else []
        parts += [f"{self.waiting:,} wait for the relay"] if self.waiting else []
        return f"another program marks events as processed: {', '.join(parts)}" if parts else ""


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole ledger at one moment.

    Attributes:
        finished: True if finished events and deliveries were counted, too.
        unhandled_types: the types of the events that wait because no handler ever subscribed.
        oldest_due: by queue, for how many seconds the delivery that has waited longest is due and not sent, or its
            event waits to be fanned out.
        lag: for how many seconds the first event in line waits to be fanned out though a queue has room for it: no
            relay runs, or none keeps up.
        parked: the messages that can't be run, by reason.
        workers: the living workers.
        unread: the queues of handlers that living workers have, although none of them reads the queue.
        marked: the events that another program marked as processed; empty unless `finished` is True.
        newest: as many of the newest events as the caller asked for, newest first.
    """

    taken_at: datetime
    finished: bool
    event_types: Sequence[EventMetrics]
    handlers: Sequence[HandlerMetrics]
    unhandled_types: Sequence[str]
    oldest_due: Mapping[str, float]
    lag: float
    parked: Mapping[str, int]
    workers: Sequence[WorkerInfo]
    unread: Sequence[str] = ()
    marked: MarkedByOthers = MarkedByOthers()
    newest: Sequence[Found] = ()

    @property
    def rows(self) -> int:
        """The number of rows that were counted, by which the cost of counting grows."""
        deliveries = sum(sum(one.deliveries.values()) for one in self.handlers)
        return self.events + deliveries + sum(one.error_count for one in self.handlers)

    @property
    def events(self) -> int:
        return sum(one.count for one in self.event_types)

    @property
    def oldest(self) -> float:
        """For how many seconds the delivery that has waited longest, in any queue, is due and not sent."""
        return max(self.oldest_due.values(), default=0.0)

    @property
    def waiting_events(self) -> int:
        return sum(one.waiting for one in self.event_types)

    def deliveries(self, *states: State) -> int:
        return sum(one.deliveries.get(state, 0) for one in self.handlers for state in states)

    @property
    def published_a_second(self) -> float:
        """The events that were published per second within the last minute."""
        return sum(one.lately for one in self.event_types) / LATELY

    def a_second(self, outcome: str) -> float:
        """The attempts per second of this outcome that living workers report: "succeeded", "retried" or "dead"."""
        return sum(one.rates.get(outcome, 0.0) for one in self.handlers)


def retire_command(handler: HandlerMetrics, orphan: Orphan) -> str:
    """Return the command that ends an orphan, and does not touch the event types that workers have."""
    of_all = {orphan.event_type for orphan in handler.orphans} >= set(handler.event_types)
    command = f"events handlers retire {handler.handler}"
    return command if of_all else f"{command} --event {orphan.event_type}"
