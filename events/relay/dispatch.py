"""What is sent now, of all that is due: as much as there is room for, together with what may travel together."""

import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from events.hooks import Hooks
from events.ledger import Due, Express, Group, Handled, Outbox, Pace, Subscriptions
from events.relay.grouping import is_untried, make_groups
from events.relay.sending import Sending
from events.relay.transport import Transport

_PACES_EVERY = 0.2  # seconds, at most, between looks at how fast handlers are
_UNTRIED_EVERY = 0.05
# Seconds that most of an untried handler's deliveries wait for somebody, who may just be starting, to try the first.
_UNTRIED_FOR = 5.0
_COUNT_SHARE = 20  # times as long as it took to count what is in flight, it is not counted again
_A_MESSAGE = 50  # deliveries, to look at for each message that there is room for
_FEW = 8  # new events that may be sent at once; more are a backlog, of which messages are made
_KEEPING_UP = 64  # deliveries of a queue that are sent or running: with more, its workers don't keep up


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """How much and how often: see the settings of the same names."""

    batch: int
    max_in_flight: int
    max_messages: int | None  # that this process may hold itself; None for any number, or if a broker holds them
    stale_after: timedelta
    poll_interval: timedelta
    lease: timedelta = timedelta(seconds=60)


class Dispatch:
    """Used by one relay, in one thread.

    Args:
        handlers: send only deliveries of these; None for all. A worker without a broker runs what it feeds itself, and
            what it can't run it would take from who can, again and again.
        queues: send only to these queues; None for all.
    """

    def __init__(
        self,
        *,
        subscriptions: Subscriptions,
        outbox: Outbox,
        transport: Transport,
        limits: RelayLimits,
        hooks: Hooks,
        handlers: Collection[Handled] | None,
        queues: Collection[str] | None,
    ) -> None:
        self._subscriptions = subscriptions
        self._outbox = outbox
        self._transport = transport
        self._limits = limits
        self._most_held = sys.maxsize if limits.max_messages is None else limits.max_messages
        self._hooks = hooks
        self._handlers = handlers
        self._queues = queues
        self._sending = Sending(outbox, transport)
        self._paces: dict[str, Pace] = {}
        self._paces_of = 0.0  # when they were read
        self._untried: dict[str, float] = {}  # since when what is due is a handler's that nobody has timed yet
        self._counted: dict[str, Counter[str]] = {}
        self._count_at = 0.0
        self.full = False  # whether something may be due for which there was no room

    def express(self) -> Express | None:
        """What may be sent as soon as it is fanned out; None if there is no room. Each queue has its own."""
        if self._sending.resting():
            return None
        held = len(self._transport.held())
        if not self._has_room(held, self._most_held):
            return None
        room, in_flight = min(self._most_held - held, _KEEPING_UP), _KEEPING_UP
        if not self._transport.features.holds_itself:  # else the ledger counts what other workers hold for themselves
            in_flight = min(in_flight, self._limits.max_in_flight)
        return Express(_FEW, room, in_flight, self._limits.stale_after, self._handlers, self._queues)

    def send(self, groups: Sequence[Group]) -> int:
        """These are marked as sent: do it. How many deliveries the broker took."""
        for queue, counts in _by_queue(groups).items():
            self._counted.setdefault(queue, Counter()).update(counts)
        self._hooks.sending(groups)
        taken = self._sending.send(groups)
        if taken:
            self._hooks.sent(taken)
        return sum(map(len, taken))

    def send_due(self) -> int:
        """Find what is due, mark it, and send it; how many deliveries."""
        moved, held = 0, len(self._transport.held())
        if 2 * held > self._most_held:
            self.full = True
            return 0
        due = [queue for queue, wait in self._outbox.waiting().items() if not wait]
        if self._queues is not None:
            due = [queue for queue in due if queue in self._queues]
        resting = self._sending.resting() & set(due)  # what these queues have no room for waits, and costs nothing
        due = [queue for queue in due if queue not in resting]
        in_flight = self._in_flight() if due else {}
        self.full = bool(resting)
        if not due:
            return 0
        self._renew_paces()
        for queue in due:
            theirs = in_flight.setdefault(queue, Counter())
            messages = self._most_held - held
            if messages <= 0 or not self._has_room(theirs.total(), self._limits.max_in_flight):
                self.full = True
                continue
            room = self._limits.max_in_flight - theirs.total()
            limit = min(room, self._limits.batch, _A_MESSAGE * max(messages, 4))
            for groups in self._take(queue, limit, theirs, messages):
                moved += self.send(groups)
                held += len(groups)
        return moved

    def linger(self) -> timedelta:
        """For how long to wait for the rest of a batch."""
        return min((pace.linger for pace in self._paces.values() if pace.linger), default=timedelta.max) / 2

    def _take(self, queue: str, limit: int, in_flight: Counter[str], messages: int) -> Iterator[list[Group]]:
        """What is to be sent to a queue now. Deliveries that have to wait, for their batch, hold up no others."""
        waiting: set[str] = set()
        while True:
            found, groups = self._mark_due(queue, limit, in_flight, messages, waiting)
            if groups:
                yield groups
            untried = {one.wakeup.handler for one in found if is_untried(self._paces.get(one.wakeup.handler, Pace()))}
            self._untried |= {handler: time.monotonic() for handler in untried - self._untried.keys()}
            left = Counter(one.wakeup.handler for one in found)
            left.subtract(wakeup.handler for group in groups for wakeup in group)
            if groups or len(found) < limit or not +left:
                return
            waiting |= (+left).keys()

    def _mark_due(
        self, queue: str, limit: int, in_flight: Counter[str], messages: int, but: Collection[str]
    ) -> tuple[Sequence[Due], list[Group]]:
        """What is due, and the messages to make of it now; these are marked, committed, and have to be sent."""
        with self._outbox.due(queue, limit, self._handlers, but) as due:
            groups = make_groups(due.found, self._paces, in_flight, messages, limit, self._waited_for())
            due.mark(groups, self._limits.stale_after)
        return due.found, groups

    def _waited_for(self) -> set[str]:
        """Untried handlers that nobody has tried for so long that the rest of theirs waits no longer."""
        tried_by = time.monotonic() - _UNTRIED_FOR
        return {handler for handler, since in self._untried.items() if since < tried_by}

    @staticmethod
    def _has_room(taken: int, most: int) -> bool:
        """A quarter is free: filled up one by one, the room would never be that of a group."""
        return most - taken >= max(1, most // 4)

    def _in_flight(self) -> dict[str, Counter[str]]:
        """Per queue and handler; what this process holds itself, if no broker holds what all of them have sent.

        The more there are the longer it takes to count them, so between counts we only add what we send ourselves.
        """
        if self._transport.features.holds_itself:
            return _by_queue(self._transport.held())
        now = time.monotonic()
        if now >= self._count_at or self.full:
            self._counted = self._outbox.in_flight()
            self._count_at = now + _COUNT_SHARE * (time.monotonic() - now)
        return self._counted

    def _renew_paces(self) -> None:
        """Soon while a handler is untried, since only so many of its deliveries are sent until somebody knows."""
        every = _UNTRIED_EVERY if self._untried else _PACES_EVERY
        if time.monotonic() - self._paces_of >= every or not self._paces:
            self._paces, self._paces_of = self._subscriptions.paces(), time.monotonic()
            known = {handler for handler, pace in self._paces.items() if not is_untried(pace)}
            self._untried = {handler: since for handler, since in self._untried.items() if handler not in known}


def _by_queue(groups: Sequence[Group]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for group in groups:
        found.setdefault(group[0].queue, Counter())[group[0].handler] += len(group)
    return found
