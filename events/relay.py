"""The relay: turns events into deliveries and sends what is due. Any number of them may run at once, with no leader.

It is the only sender. New, retrying, replayed, lost and stale deliveries are all the same to it: `due_at` has passed.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from events.errors import TransportError
from events.ports import Listener, Outbox, Transport
from events.sending import Sending
from events.throttle import Throttle
from events.watchdog import Pulse

log = logging.getLogger("events.relay")

_LINGER = 0.25  # seconds of quick polling after the last movement: finds what was committed without a wake-up
_QUICK = timedelta(milliseconds=10)
_FULL = timedelta(milliseconds=100)  # between looks for room
_LOG_EVERY = 5.0  # seconds between log lines while something is down


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """How much and how often: see the settings of the same names."""

    batch: int
    max_in_flight: int
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
        outbox: Outbox,
        transport: Transport,
        limits: RelayLimits,
        *,
        handlers: Collection[str] | None = None,
        queues: Collection[str] | None = None,
    ) -> None:
        self._outbox = outbox
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
        self._known_queues: Collection[str] = ()
        self._full = False  # whether something may be due for which there is no room
        self._next_look = 0.0  # when to look for lost wake-ups, ended leases and dead letters to copy

    def run(self) -> None:
        """Relay until `stop` is called. Outlives a database or broker that is away."""
        self._listener = listener = self._outbox.listen()
        last_moved, trouble = 0.0, _Trouble()
        try:
            while not self._stopping.is_set():
                self.pulse.beat()
                try:
                    moved = self.step()
                    trouble.over()
                    now = time.monotonic()
                    if moved:
                        last_moved = now
                    elif now - last_moved < _LINGER:
                        listener.wait(_QUICK)
                    else:
                        listener.wait(self._pause())
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
            self._next_look = time.monotonic() + min(self._limits.poll_interval.total_seconds(), 1.0)
            self._known_queues = self._queues or self._outbox.queues()
            self._look_after()
        return moved + self._send_due()

    def _send_due(self) -> int:
        moved = 0
        in_flight = self._in_flight()
        self._full = False
        for queue in self._known_queues:
            room = self._limits.max_in_flight - in_flight.get(queue, 0)
            if room <= 0:
                self._full = True
                continue
            due = self._outbox.take_due(queue, min(room, self._limits.batch), self._limits.stale_after, self._handlers)
            if due:
                moved += self._sending.send(due)
        return moved

    def _in_flight(self) -> dict[str, int]:
        """Per queue; without a broker every worker bounds what it holds itself."""
        if self._transport.copies_dead_letters:
            return self._outbox.in_flight()
        held: dict[str, int] = {}
        for wakeup in self._transport.held():
            held[wakeup.queue] = held.get(wakeup.queue, 0) + 1
        return held

    def _look_after(self) -> None:
        """What went missing: leases that ended, wake-ups that their queue no longer has, dead letters to copy."""
        self._outbox.expire_leases(self._limits.batch)
        if held := self._transport.held():
            self._outbox.renew(held, self._limits.stale_after, self._holder)
        for queue, sent in self._outbox.overdue().items():
            # A queue is first in, first out: the messages in it are those sent last. What was sent before them and
            # hasn't started is lost, or in a worker's hand, where a second wake-up does no harm. Age proves nothing.
            # Those that a living worker holds are counted on neither side.
            try:
                missing = max(0, sent - self._transport.waiting(queue))
            except TransportError as error:
                self._throttle.warn(str(error))
                continue
            if found := self._outbox.resend(queue, missing):
                log.warning("%d wake-ups of queue %s got lost; sending them again", found, queue)
        if self._transport.copies_dead_letters:
            self._copy_dead_letters()

    def _copy_dead_letters(self) -> None:
        while letters := self._outbox.take_uncopied(self._limits.batch):
            try:
                self._transport.send_dead(letters)
            except TransportError as error:
                self._throttle.warn(str(error))
                return
            self._outbox.mark_copied(letters)

    def _pause(self) -> timedelta:
        if self._full:
            return _FULL
        due_in = self._outbox.due_in()
        if due_in is None:
            return self._limits.poll_interval
        # Not zero: what is due and didn't move has to wait for the broker.
        return max(_FULL, min(due_in, self._limits.poll_interval))


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
