"""Sends due deliveries: as many as there is room for, and in one message those that may share a message."""

import sys
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from events.hooks import Hooks
from events.ledger import Due, Express, FannedOut, Group, Handled, Outbox, Pace, Subscriptions
from events.relay.grouping import is_untried, make_groups, not_begun, too_early
from events.relay.sending import Sending
from events.relay.transport import Transport

_PACES_EVERY = 0.2  # seconds: the paces of handlers are read again after that
_UNTRIED_EVERY = 0.05  # seconds: the same, while there is an untried handler
# Seconds that most deliveries of an untried handler wait for a worker, which may be starting, to run the first ones.
_UNTRIED_FOR = 5.0
_COUNT_SHARE = 20  # deliveries in flight are counted again after this many times the duration of the last count
_LOOKED_AT = 50  # due deliveries that are looked at for each message that there is room for
_FEW = 8  # new events that may be sent one by one; more of them are a backlog, whose deliveries share messages
_KEEPING_UP = 64  # sent deliveries of a queue: with more than these, the queue's workers don't keep up
_MANY = 4  # with so many times as many in flight allowed, those that run are too few to matter


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """How much a relay sends, and how often it looks: see the settings of the same names."""

    batch: int
    max_in_flight: int
    max_messages: int | None  # messages that this process may hold itself; None: any number, or a broker holds them
    stale_after: timedelta
    poll_interval: timedelta
    lease: timedelta = timedelta(seconds=60)


class Dispatch:
    """Sends due deliveries for one relay, in the relay's thread.

    Args:
        handlers: send only deliveries of these handlers; None for all. A worker without a broker feeds itself: it would
            take deliveries that it can't run from the workers that can, again and again.
        queues: send only to these queues; None for all.
        forms: see Outbox.due.
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
        forms: Collection[tuple[str, str]] = (),
    ) -> None:
        self._subscriptions = subscriptions
        self._outbox = outbox
        self._transport = transport
        self._limits = limits
        self._most_held = sys.maxsize if limits.max_messages is None else limits.max_messages
        self._hooks = hooks
        self._handlers = handlers
        self._queues = queues
        self._forms = forms
        self._sending = Sending(outbox, transport)
        self._paces: dict[str, Pace] = {}
        self._paces_read_at = 0.0
        self._untried: dict[str, float] = {}  # handlers that no worker has timed yet, and since when they have due ones
        self._counted: dict[str, Counter[str]] = {}
        self._count_at = 0.0
        self._backlog = False  # whether more events are new than may be sent one by one
        self._most_new = limits.batch  # events of a backlog that are looked at at once
        self._each = 1.0  # deliveries that an event makes, as of late
        self._behind: set[str] = set()  # queues with due deliveries that found no room: new ones come after them
        self.full = False  # whether there may be due deliveries for which there was no room

    @property
    def is_behind(self) -> bool:
        """Whether due deliveries wait for room, and new events for them."""
        return bool(self._behind)

    def fan_out(self) -> FannedOut:
        """Turn new events into deliveries; those that are `sent` have to be sent.

        Of a backlog no more than there is room for: the rest of it waits as events, which costs nothing.
        """
        express = self.express()
        if express is not None and not self._backlog:
            new = self._outbox.fan_out(self._limits.batch, express)
            if not new.backlog:
                return new
            if new.waits:
                self.send_due()  # first what waits already
        return self._fan_out_backlog()

    def express(self) -> Express | None:
        """The limits within which new deliveries may be sent as soon as they are fanned out; None if there is no room.

        Each queue has room of its own.
        """
        if self._sending.resting():
            return None
        held = len(self._transport.held())
        if not self._has_room(held, self._most_held):
            return None
        room, in_flight = min(self._most_held - held, _KEEPING_UP), _KEEPING_UP
        if not self._transport.features.holds_itself:  # else the ledger counts the messages that other workers hold
            in_flight = min(in_flight, self._limits.max_in_flight)
        few_may_be = self._limits.max_in_flight < _MANY * _KEEPING_UP
        return Express(
            _FEW, room, in_flight, self._limits.stale_after, self._handlers, self._queues, count_running=few_may_be
        )

    def _fan_out_backlog(self) -> FannedOut:
        """Fan out straight into messages, queue by queue, as far as there is room."""
        held = len(self._transport.held())
        if not self._has_room(held, self._most_held):
            self.full = True
            return FannedOut()
        in_flight = self._in_flight()
        most = self._limits.max_in_flight
        full = {queue for queue, counts in in_flight.items() if not self._has_room(counts.total(), most)}
        waits = full | self._behind | self._sending.resting()
        self.full = self.full or bool(full)
        self._renew_paces()
        rooms = [most - counts.total() for queue, counts in in_flight.items() if queue not in waits]
        events = max(1, min(int(min([most, *rooms]) / self._each), self._most_new))
        with self._outbox.arriving(events, handlers=self._handlers, queues=self._queues, but=sorted(waits)) as new:
            self._note_untried(one.wakeup.handler for one in new.deliveries)
            left = too_early(new.deliveries, self._paces, in_flight, self._waited_for())
            more = len({one.wakeup.event_id for one in new.deliveries}) >= events
            waiting: list[Due] = []
            groups: list[Group] = []
            for queue in {one.wakeup.queue for one in new.deliveries} - waits:
                counts = in_flight.setdefault(queue, Counter())
                room, messages = most - counts.total(), self._most_held - held - len(groups)
                now = [one for one in new.deliveries if one.wakeup.queue == queue and one.wakeup.event_id not in left]
                limit = len(now) if more else None
                groups += make_groups(now[:room], self._paces, counts, messages, limit, self._waited_for())
                waiting += now
            left |= not_begun(waiting, groups, self._paces)
            new.mark(groups, self._limits.stale_after, left)
        made = new.fanned_out
        if made.events:
            self._each = max(1.0, made.made.total() / made.events)
        self._most_new = min(self._limits.batch, 2 * max(_FEW, made.events if left else self._most_new))
        self._backlog = bool(waits or left) or made.events >= events
        return made

    def send(self, groups: Sequence[Group]) -> int:
        """Send these groups, which the ledger has marked as sent. Returns how many deliveries the broker took."""
        for queue, counts in _by_queue(groups).items():
            self._counted.setdefault(queue, Counter()).update(counts)
        self._hooks.sending(groups)
        taken = self._sending.send(groups)
        if taken:
            self._hooks.sent(taken)
        return sum(map(len, taken))

    def send_due(self) -> int:
        """Find due deliveries, mark them, and send them. Returns how many were sent."""
        moved, held = 0, len(self._transport.held())
        self._behind.clear()
        if 2 * held > self._most_held:
            self.full = True
            return 0
        due = [queue for queue, wait in self._outbox.waiting().items() if not wait]
        if self._queues is not None:
            due = [queue for queue in due if queue in self._queues]
        resting = self._sending.resting() & set(due)  # deliveries of these queues wait, and cost nothing
        due = [queue for queue in due if queue not in resting]
        in_flight = self._in_flight() if due else {}
        self.full = bool(resting)
        if not due:
            return 0
        self._renew_paces()
        for queue in due:
            counts = in_flight.setdefault(queue, Counter())
            messages = self._most_held - held
            if messages <= 0 or not self._has_room(counts.total(), self._limits.max_in_flight):
                self.full = True
                self._behind.add(queue)
                continue
            room = self._limits.max_in_flight - counts.total()
            limit = min(room, self._limits.batch, _LOOKED_AT * max(messages, 4))
            for groups in self._take(queue, limit, counts, messages):
                moved += self.send(groups)
                held += len(groups)
        return moved

    def linger(self) -> timedelta:
        """How long to wait for the rest of a batch."""
        return min((pace.linger for pace in self._paces.values() if pace.linger), default=timedelta.max) / 2

    def _take(self, queue: str, limit: int, in_flight: Counter[str], messages: int) -> Iterator[list[Group]]:
        """The messages to send to a queue now. Deliveries that wait for the rest of their batch hold up no others."""
        waiting: set[str] = set()
        while True:
            due, groups = self._mark_due(queue, limit, in_flight, messages, waiting)
            if groups:
                yield groups
            handlers = [delivery.wakeup.handler for delivery in due]
            self._note_untried(handlers)
            left = Counter(handlers)
            left.subtract(wakeup.handler for group in groups for wakeup in group)
            if len(due) >= limit or any(not self._paces.get(handler, Pace()).linger for handler in +left):
                self._behind.add(queue)
            if groups or len(due) < limit or not +left:
                return
            waiting |= (+left).keys()

    def _mark_due(
        self, queue: str, limit: int, in_flight: Counter[str], messages: int, but: Collection[str]
    ) -> tuple[Sequence[Due], list[Group]]:
        """The due deliveries, and the messages to make of them now: these are marked, committed, and have to be sent.

        `but`: handlers whose deliveries are left out.
        """
        with self._outbox.due(queue, limit, self._handlers, but, self._forms) as due:
            groups = make_groups(due.deliveries, self._paces, in_flight, messages, limit, self._waited_for())
            due.mark(groups, self._limits.stale_after)
        return due.deliveries, groups

    def _note_untried(self, handlers: Iterable[str]) -> None:
        """Note those that no worker has timed yet, and since when they have deliveries."""
        untried = {handler for handler in handlers if is_untried(self._paces.get(handler, Pace()))}
        self._untried |= {handler: time.monotonic() for handler in untried - self._untried.keys()}

    def _waited_for(self) -> set[str]:
        """Handlers that have been untried for so long that the rest of their deliveries waits no longer."""
        tried_by = time.monotonic() - _UNTRIED_FOR
        return {handler for handler, since in self._untried.items() if since < tried_by}

    @staticmethod
    def _has_room(taken: int, most: int) -> bool:
        """Whether a quarter is free. If each free place were filled at once, there would never be room for a group."""
        return most - taken >= max(1, most // 4)

    def _in_flight(self) -> dict[str, Counter[str]]:
        """The numbers of deliveries in flight, by queue and handler; those of this process alone if it holds its own.

        The more there are, the longer a count takes. So between two counts we only add the deliveries that we send.
        """
        if self._transport.features.holds_itself:
            return _by_queue(self._transport.held())
        now = time.monotonic()
        if now >= self._count_at or self.full:
            self._counted = self._outbox.in_flight()
            self._count_at = now + _COUNT_SHARE * (time.monotonic() - now)
        return self._counted

    def _renew_paces(self) -> None:
        """Read the paces again when they are old. While a handler is untried that is soon, as few of its deliveries
        are sent until its pace is known."""
        every = _UNTRIED_EVERY if self._untried else _PACES_EVERY
        if time.monotonic() - self._paces_read_at >= every or not self._paces:
            self._paces, self._paces_read_at = self._subscriptions.paces(), time.monotonic()
            known = {handler for handler, pace in self._paces.items() if not is_untried(pace)}
            self._untried = {handler: since for handler, since in self._untried.items() if handler not in known}


def _by_queue(groups: Sequence[Group]) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {}
    for group in groups:
        counts.setdefault(group[0].queue, Counter())[group[0].handler] += len(group)
    return counts
