"""What stands in the ledger, in numbers: the read model of `events status`, `events.metrics()` and Flower's pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from events.ledger.history import Found
from events.ledger.records import State, WorkerInfo

LATELY = 60.0  # seconds that "lately" means


@dataclass(frozen=True, slots=True)
class EventMetrics:
    """One event type.

    Attributes:
        count: events in the ledger.
        error_count: attempts of its handlers that failed, each try counted.
        waiting: events that are not yet fanned out.
        lately: events stored within the last minute.
        deliveries: by state.
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
    """Events of a type that nobody has subscribed to; `oldest`: when the first of them occurred."""

    event_type: str
    count: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Orphan:
    """An event type of a handler that no living worker has: its deliveries wait.

    Attributes:
        since: when that was noticed; None if it wasn't yet, or the handler isn't subscribed to it any more.
        waiting: deliveries that nobody has begun.
    """

    event_type: str
    since: datetime | None
    waiting: int


@dataclass(frozen=True, slots=True)
class HandlerMetrics:
    """One handler.

    Attributes:
        queue: "" if its subscription is gone.
        error_count: its attempts that failed, each try counted.
        workers: living ones that have it.
        seconds: that one delivery takes, as workers measured; None if unknown.
        one_by_one: its deliveries share no message, since a group of them did not end well, or it changes more than
            rows. Meanwhile `seconds` is None.
        rates: what living workers say they do a second, by outcome.
        changed_by, changed_at: who paused or resumed it, and when; None if nobody did of late.
        orphans: of its event types, those that no living worker has.
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
        """Deliveries that nobody has begun."""
        return sum(self.deliveries.get(state, 0) for state in (State.PENDING, State.SENT, State.PAUSED))

    @property
    def dead(self) -> int:
        return self.deliveries.get(State.DEAD, 0)


@dataclass(frozen=True, slots=True)
class MarkedByOthers:
    """Events that another program marked as processed before they were fanned out, and for which there is a handler.

    Attributes:
        waiting: the relay has yet to look at them.
        handled: within a day, their handlers run all the same.
        left: within a day, their handlers don't: they are left to that program, or handlers subscribed later.
    """

    waiting: int = 0
    handled: int = 0
    left: int = 0

    def told(self) -> str:
        """In words; nothing if there are none."""
        parts = [f"{self.handled:,} of the last day were handled all the same"] if self.handled else []
        parts += [f"{self.left:,} of the last day were left to it"] if self.left else []
        parts += [f"{self.waiting:,} wait for the relay"] if self.waiting else []
        return f"another program marks events as processed: {', '.join(parts)}" if parts else ""


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole ledger at one moment.

    Attributes:
        finished: whether what is finished was counted, too.
        unhandled_types: of events that wait because no handler ever subscribed.
        oldest_due: for how many seconds the delivery that has waited longest is due and not sent, by queue.
        lag: for how many seconds the first event in line, of those that somebody wants, waits to be fanned out.
        parked: messages that can't be run, by reason.
        workers: those that live.
        unread: queues of handlers that living workers have, and that none of them reads.
        marked: what another program marked as processed; nothing unless what is finished was counted, too.
        newest: events, newest first, as many as were asked for.
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
        """How many rows were counted: what counting costs."""
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
        """Within the last minute."""
        return sum(one.lately for one in self.event_types) / LATELY

    def a_second(self, outcome: str) -> float:
        """What living workers say they do: "succeeded", "retried" or "dead"."""
        return sum(one.rates.get(outcome, 0.0) for one in self.handlers)


def retire_command(handler: HandlerMetrics, orphan: Orphan) -> str:
    """What ends an orphan, and leaves alone what workers have."""
    of_all = {orphan.event_type for orphan in handler.orphans} >= set(handler.event_types)
    command = f"events handlers retire {handler.handler}"
    return command if of_all else f"{command} --event {orphan.event_type}"
