"""The relay: turns events into deliveries and sends what is due. Any number of them may run at once, with no leader.

It is the only sender. New, retrying, replayed, lost and stale deliveries are all the same to it: `due_at` has passed.
"""

import logging
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from events.errors import TransportError
from events.grouping import is_untried, make_groups
from events.ports import Listener, Outbox, Recovery, Subscriptions, Transport
from events.records import Due, Group, Pace
from events.sending import Sending
from events.throttle import Throttle
from events.watchdog import Pulse

log = logging.getLogger("events.relay")

# After a movement it looks again soon, and then less and less: so it finds what was committed without a wake-up.
_SOON, _LESS, _LATE = timedelta(milliseconds=5), 2, timedelta(milliseconds=160)
_FULL = timedelta(milliseconds=50)  # between looks for room
_LOOK_EVERY = 1.0  # seconds, at most, between looks for what went missing, and for how fast handlers are
_UNTRIED_EVERY = 0.05
_UNTRIED_FOR = 1.0  # seconds that most of an untried handler's deliveries wait for somebody to try the first
_ROUND_EVERY = 20.0
_A_MESSAGE = 50  # deliveries, to look at for each message that there is room for
_LOG_EVERY = 5.0  # seconds between log lines while something is down


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """How much and how often: see the settings of the same names."""

    batch: int
    max_in_flight: int
    max_messages: int | None  # that this process may hold itself; None where a broker holds them
    stale_after: timedelta
    poll_interval: timedelta


class Relay:
    """Moves events of one ledger to one transport.

    Args:
        handlers: send only deliveries of these; None for all. A worker without a broker runs what it feeds itself.
        queues: send only to these queues; None for all.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        outbox: Outbox,
        recovery: Recovery,
        transport: Transport,
        limits: RelayLimits,
        *,
        handlers: Collection[str] | None = None,
        queues: Collection[str] | None = None,
    ) -> None:
        self._subscriptions = subscriptions
        self._outbox = outbox
        self._recovery = recovery
        self._transport = transport
        self._limits = limits
        self._sending = Sending(outbox, transport)
        self._throttle = Throttle(log)
        self._holder = f"{socket.gethostname()}.{os.getpid()}"
        self._handlers = handlers
        self._queues = queues
        self._stopping = threading.Event()
        self._listener: Listener | None = None
        self.pulse = Pulse()  # beats every round
        # A full round at least so often, idle or not: it says what this process holds, for example.
        self._round_every = min(_ROUND_EVERY, limits.stale_after.total_seconds() / 3)
        self._paces: dict[str, Pace] = {}
        self._paces_of = 0.0  # when they were read
        self._untried: dict[str, float] = {}  # since when what is due is a handler's that nobody has timed yet
        self._full = False  # whether something may be due for which there is no room
        self._next_look = 0.0  # when to look for lost wake-ups, ended leases and dead letters to copy

    def run(self) -> None:
        """Relay until `stop` is called. Outlives a database or broker that is away."""
        self._listener = listener = self._outbox.listen()
        soon, trouble = _SOON, _Trouble()
        try:
            while not self._stopping.is_set():
                self.pulse.beat()
                try:
                    moved = self.step()
                    trouble.over()
                    if moved:
                        soon = _SOON
                    elif soon <= _LATE and not self._full:
                        listener.wait(soon)
                        soon *= _LESS
                    else:
                        self._idle(listener)
                except Exception as error:
                    listener.wait(trouble.met(error))
        finally:
            listener.close()

    def silence(self) -> float:
        """Seconds for which it has been stuck: 0 while it works or waits as it should."""
        return max(0.0, self.pulse.silence() - self._limits.poll_interval.total_seconds())

    def stop(self) -> None:
        """End `run` after the batch in hand; from any thread."""
        self._stopping.set()
        self.wake()

    def wake(self) -> None:
        """Look now: something may be due, or a worker has room; from any thread."""
        if self._listener is not None:
            self._listener.wake()

    def step(self) -> int:
        """One round; how many events and deliveries it moved.

        Raises:
            sqlalchemy.exc.DBAPIError: the database failed; nothing is lost.
        """
        moved = self._outbox.fan_out(self._limits.batch)
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + min(self._limits.poll_interval.total_seconds(), _LOOK_EVERY)
            self._look_after()
        return moved + self._send_due()

    def _send_due(self) -> int:
        moved, self._full, held = 0, False, len(self._transport.held())
        if self._limits.max_messages is not None and 2 * held > self._limits.max_messages:
            self._full = True
            return 0
        due = [queue for queue, wait in self._outbox.waiting().items() if not wait]
        if self._queues is not None:
            due = [queue for queue in due if queue in self._queues]
        if not due:
            return 0
        self._renew_paces()
        in_flight = self._in_flight()
        for queue in due:
            theirs = in_flight.get(queue, Counter())
            messages = None if self._limits.max_messages is None else self._limits.max_messages - held
            if messages == 0 or not self._has_room(theirs.total(), self._limits.max_in_flight):
                self._full = True
                continue
            room = min(self._limits.max_in_flight - theirs.total(), self._limits.batch)
            if messages is not None:
                room = min(room, _A_MESSAGE * max(messages, 4))
            for groups in self._take(queue, room, theirs, messages):
                moved += self._sending.send(groups)
                held += len(groups)
        return moved

    def _take(self, queue: str, limit: int, in_flight: Counter[str], room: int | None) -> Iterator[list[Group]]:
        """What is to be sent to a queue now. Deliveries that have to wait, for their batch, hold up no others."""
        seen: list[Due] = []

        def group(found: Sequence[Due]) -> list[Group]:
            seen[:] = found
            tried_by = time.monotonic() - _UNTRIED_FOR
            waited_for = {handler for handler, since in self._untried.items() if since < tried_by}
            return make_groups(found, self._paces, in_flight, room, limit, waited_for)

        waiting: set[str] = set()
        while True:
            groups = self._outbox.take_due(queue, limit, self._limits.stale_after, self._handlers, waiting, group)
            if groups:
                yield groups
            untried = {one.wakeup.handler for one in seen if is_untried(self._paces.get(one.wakeup.handler, Pace()))}
            self._untried |= {handler: time.monotonic() for handler in untried - self._untried.keys()}
            left = Counter(one.wakeup.handler for one in seen)
            left.subtract(wakeup.handler for group in groups for wakeup in group)
            if groups or len(seen) < limit or not +left:
                return
            waiting |= (+left).keys()

    @staticmethod
    def _has_room(taken: int, most: int) -> bool:
        """A quarter is free: filled up one by one, the room would never be that of a group."""
        return most - taken >= max(1, most // 4)

    def _in_flight(self) -> dict[str, Counter[str]]:
        """Per queue and handler; without a broker every worker bounds what it holds itself."""
        if self._transport.copies_dead_letters:
            return self._outbox.in_flight()
        held: dict[str, Counter[str]] = {}
        for group in self._transport.held():
            held.setdefault(group[0].queue, Counter())[group[0].handler] += len(group)
        return held

    def _renew_paces(self) -> None:
        """Soon while a handler is untried, since only so many of its deliveries are sent until somebody knows."""
        every = _UNTRIED_EVERY if self._untried else _LOOK_EVERY
        if time.monotonic() - self._paces_of >= every or not self._paces:
            self._paces, self._paces_of = self._subscriptions.paces(), time.monotonic()
            known = {handler for handler, pace in self._paces.items() if not is_untried(pace)}
            self._untried = {handler: since for handler, since in self._untried.items() if handler not in known}

    def _look_after(self) -> None:
        """What went missing: leases that ended, wake-ups that their queue no longer has, dead letters to copy."""
        self._recovery.expire_leases(self._limits.batch)
        if held := [wakeup for group in self._transport.held() for wakeup in group]:
            self._recovery.renew(held, self._limits.stale_after, self._holder)
        for queue, sent in self._recovery.overdue().items():
            # A queue is first in, first out: the messages in it are those sent last. What was sent before them and
            # hasn't started is lost, or in a worker's hand, where a second wake-up does no harm. Age proves nothing.
            # Those that a living worker holds are counted on neither side.
            try:
                missing = max(0, sent - self._transport.waiting(queue))
            except TransportError as error:
                self._throttle.warn(str(error))
                continue
            if found := self._recovery.resend(queue, missing):
                log.warning("%d wake-ups of queue %s got lost; sending them again", found, queue)
        if self._transport.copies_dead_letters:
            self._copy_dead_letters()

    def _copy_dead_letters(self) -> None:
        while letters := self._recovery.take_uncopied(self._limits.batch):
            try:
                self._transport.send_dead(letters)
            except TransportError as error:
                self._throttle.warn(str(error))
                return
            self._recovery.mark_copied(letters)

    def _idle(self, listener: Listener) -> None:
        """Wait until there may be something to do, at the price of one query a poll interval."""
        poll, until = self._limits.poll_interval, time.monotonic() + self._round_every
        if self._full:
            listener.wait(_FULL)
            return
        due_in = self._due_in()
        if not due_in:  # and yet nothing moved: it waits for the broker, or for the rest of its batch
            lingers = [pace.linger / 2 for pace in self._paces.values() if pace.linger]
            listener.wait(min([_FULL, *lingers]))
            return
        while not listener.wait(min(due_in, poll)) and due_in > poll and time.monotonic() < until:
            self.pulse.beat()
            due_in = self._due_in()
            if not due_in:
                return

    def _due_in(self) -> timedelta:
        due_in = self._outbox.due_in(copies=self._transport.copies_dead_letters)
        return timedelta.max if due_in is None else due_in


class _Trouble:
    """Backs off while the database or broker is away, and says so now and then instead of in every round."""

    def __init__(self) -> None:
        self._count = 0
        self._logged_at = 0.0

    def met(self, error: Exception) -> timedelta:
        self._count += 1
        now = time.monotonic()
        if now - self._logged_at >= _LOG_EVERY or (self._count == 1 and now - self._logged_at >= 1):
            self._logged_at = now
            log.warning("relay: %s: %s (try %d)", type(error).__name__, str(error).split("\n")[0][:300], self._count)
        return timedelta(seconds=min(0.1 * 2 ** min(self._count, 6), 3))

    def over(self) -> None:
        if self._count:
            log.warning("relay: works again after %d failed tries", self._count)
            self._count = 0
