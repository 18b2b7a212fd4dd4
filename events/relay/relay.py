"""The relay: turns events into deliveries and sends what is due. Any number of them may run at once, with no leader.

It is the only sender. New, retrying, replayed, lost and stale deliveries are all the same to it: `due_at` has passed.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta

from events.errors import TransportError, Unsendable
from events.hooks import Hooks
from events.ledger import DeadLetter, Handled, Listener, Outbox, Recovery, Subscriptions, Transport, masked_letters
from events.relay.dispatch import Dispatch, RelayLimits
from events.throttle import Backoff, Throttle
from events.watchdog import Pulse

log = logging.getLogger("events.relay")

# After a movement it looks again soon, and then less and less: so it finds what was committed without a wake-up.
_SOON, _LESS, _LATE = timedelta(milliseconds=5), 2, timedelta(milliseconds=160)
_FULL = timedelta(milliseconds=50)  # between looks for room
_LOOK_EVERY = 1.0  # seconds, at most, between looks for what went missing
_DUE_EVERY = 0.05  # seconds, at most, between looks for what is due while it finds new events and sends them at once
_ROUND_EVERY = 20.0
_LOG_EVERY = 5.0  # seconds between log lines while something is down
_PAUSES = Backoff(first=0.2, longest=3.0)  # while the database or broker is away
_COME_BACK = 5.0  # seconds that living workers have, after we have begun, to say so


class Relay:
    """Moves events of one ledger to one transport.

    Args:
        handlers, queues: see Dispatch.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        outbox: Outbox,
        recovery: Recovery,
        transport: Transport,
        limits: RelayLimits,
        hooks: Hooks | None = None,
        *,
        handlers: Collection[Handled] | None = None,
        queues: Collection[str] | None = None,
    ) -> None:
        self._subscriptions = subscriptions
        self._outbox = outbox
        self._recovery = recovery
        self._transport = transport
        self._limits = limits
        self._hooks = hooks or Hooks()
        self._dispatch = Dispatch(subscriptions, outbox, transport, limits, self._hooks, handlers, queues)
        self._throttle, self._throttle_marked = Throttle(log), Throttle(log)
        self._holder = f"{socket.gethostname()}.{os.getpid()}"
        self._stopping = threading.Event()
        self._listener: Listener | None = None
        self.pulse = Pulse()  # beats every round
        # A full round at least so often, idle or not: it says what this process holds, for example.
        self._round_every = min(_ROUND_EVERY, limits.stale_after.total_seconds() / 3)
        self._more = False  # whether there may be something to do at once
        self._next_due = 0.0  # when to look for what is due
        self._next_look = 0.0  # when to look for lost wake-ups, ended leases and dead letters to copy
        self._outage = _Outage(limits.lease.total_seconds())

    def run(self) -> None:
        """Relay until `stop` is called. Outlives a database or broker that is away."""
        self._listener = listener = self._outbox.listen()
        soon, trouble, woken = _SOON, _Trouble(self._recovery.explained), True
        self._outage.may_have_been()
        try:
            while not self._stopping.is_set():
                self.pulse.beat()
                try:
                    moved = self.step(look=woken)
                    trouble.over()
                    self._outage.over()
                    woken = False
                    if moved:
                        soon = _SOON
                    if self._more:
                        continue
                    if soon <= _LATE:
                        woken = listener.wait(soon)
                        soon *= _LESS
                    else:
                        self._idle(listener)
                        woken = True
                except Exception as error:
                    if self._recovery.is_away(error):
                        self._outage.begun()
                    listener.wait(trouble.met(error))
                    woken = True
        finally:
            listener.close()

    def silence(self) -> float:
        """Seconds for which it has been stuck: 0 while it works or waits as it should."""
        return max(0.0, self.pulse.silence() - self._limits.poll_interval.total_seconds())

    @property
    def relays(self) -> bool:
        """Whether `run` has begun, and isn't to end."""
        return self._listener is not None and not self.stopped

    @property
    def stopped(self) -> bool:
        """Whether it was told to end."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """End `run` after the batch in hand; from any thread."""
        self._stopping.set()
        self.wake()

    def wake(self) -> None:
        """Look now: something may be due; from any thread."""
        if self._listener is not None:
            self._listener.wake()

    def has_room(self) -> None:
        """A message was done with, so there is room for another; from any thread."""
        if self._dispatch.full:
            self.wake()

    def step(self, *, look: bool = True) -> int:
        """One round; how many events and deliveries it moved.

        Args:
            look: for what is due, unless there are new events. Else it does so now and then.

        Raises:
            sqlalchemy.exc.DBAPIError: the database failed; nothing is lost.
        """
        new = self._outbox.fan_out(self._limits.batch, self._dispatch.express())
        if new.events:
            self._hooks.fanned_out(new)
        if new.sent:
            self._dispatch.send(new.sent)
        now, due = time.monotonic(), 0
        if now >= self._next_look:
            self._next_look = now + min(self._limits.poll_interval.total_seconds(), _LOOK_EVERY)
            self._look_after()
        if new.waiting or self._more or now >= self._next_due or (look and not new.events):
            due = self._dispatch.send_due()
            self._next_due = time.monotonic() + _DUE_EVERY
        self._more = bool(new.waiting or due)
        return new.events + due

    def _look_after(self) -> None:
        """What went missing: leases that ended, wake-ups that their queue no longer has, dead letters to copy, events
        that another program marked as processed."""
        ago = self._outage.ended_ago()
        missing = self._recovery.missing(ago or timedelta(0))
        moved = 0
        if missing.leases and ago is not None:
            moved = self._recovery.expire_leases(self._limits.batch, self._outage.since(), ago)
            if moved:
                self._hooks.expired(moved)
        if missing.paused:
            moved += self._recovery.unpause(self._limits.batch)
        if missing.astray:
            moved += self._recovery.bring_home(self._limits.batch)
        if moved:
            self._next_look = 0.0  # there may be more
        if missing.marked:
            self._settle_marked()
        if held := [wakeup for group in self._transport.held() for wakeup in group]:
            self._recovery.renew(held, self._limits.stale_after, self._holder)
        if missing.overdue:
            self._resend()
        if missing.uncopied and self._transport.copies_dead_letters:
            self._copy_dead_letters()

    def _resend(self) -> None:
        """What was sent long ago, and its queue no longer has."""
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

    def _settle_marked(self) -> None:
        settled = self._outbox.settle_marked(self._limits.batch)
        if settled.looked_at == self._limits.batch:
            self._next_look = 0.0  # there may be more
        if settled.fanned_out.events:
            self._hooks.fanned_out(settled.fanned_out)
        for count, what in ((settled.fanned_out.events, "run all the same"), (settled.left, "don't run")):
            if count:
                self._throttle_marked.warn(
                    f"another program marked {count} events as processed before they were fanned out; their handlers "
                    f"{what} (EVENTS_MARKED_BY_OTHERS, docs/migrating.md)"
                )

    def _copy_dead_letters(self) -> None:
        while letters := self._recovery.take_uncopied(self._limits.batch):
            if not self._copy(letters):
                return

    def _copy(self, letters: Sequence[DeadLetter]) -> bool:
        """Whether the broker has them, or never will: they are in the ledger all the same, and hold up no others."""
        try:
            self._transport.send_dead(masked_letters(letters, self._subscriptions.masked()))
        except Unsendable as error:
            if len(letters) > 1:
                copied = [self._copy([letter]) for letter in letters]
                return all(copied)
            log.error("the broker can't hold a copy of dead letter %s of %s: %s", letters[0].event_id,
                      letters[0].handler, error)  # fmt: skip
        except TransportError as error:
            self._throttle.warn(str(error))
            return False
        self._recovery.mark_copied(letters)
        return True

    def _idle(self, listener: Listener) -> None:
        """Wait until there may be something to do, at the price of one query a poll interval."""
        poll, until = self._limits.poll_interval, time.monotonic() + self._round_every
        if self._dispatch.full:
            listener.wait(_FULL)
            return
        due_in = self._due_in()
        if not due_in:  # and yet nothing moved: it waits for the broker, or for the rest of its batch
            listener.wait(min(_FULL, self._dispatch.linger()))
            return
        while not listener.wait(min(due_in, poll)) and due_in > poll and time.monotonic() < until:
            self.pulse.beat()
            due_in = self._due_in()
            if not due_in:
                return

    def _due_in(self) -> timedelta:
        due_in = self._outbox.due_in(copies=self._transport.copies_dead_letters)
        return timedelta.max if due_in is None else due_in


class _Outage:
    """When the database was last away. Whose lease ended meanwhile couldn't extend it, and need not have died.

    Args:
        lease: seconds. For so long after an outage workers may still come back and say that they live.
    """

    def __init__(self, lease: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease = lease
        self._clock = clock
        self._well_at = self._made_at = clock()
        self._begun_at: float | None = None
        self._over_at: float | None = None
        self._wait_until = 0.0

    def may_have_been(self) -> None:
        """We have just begun, and can't know."""
        self._made_at = self._clock()
        self._wait_until = self._made_at + self._lease

    def begun(self) -> None:
        if self._begun_at is None or self._over_at is not None:
            self._begun_at, self._over_at = self._well_at, None

    def over(self) -> None:
        self._well_at = self._clock()
        if self._begun_at is not None and self._over_at is None:
            self._over_at = self._well_at
            self._wait_until = self._well_at + self._lease

    def ended_ago(self) -> timedelta | None:
        """For how long a lease must have ended to be a lost one; None while none is.

        Who has just begun goes by the leases that ended long ago, or processes that end again and again would leave
        them for ever.
        """
        now = self._clock()
        if now >= self._wait_until:
            return timedelta(0)
        if self._begun_at is None and now >= self._made_at + min(_COME_BACK, self._lease):
            return timedelta(seconds=self._lease)
        return None

    def since(self) -> timedelta | None:
        """How long ago the last one began, if leases that it kept from being extended may end now."""
        now = self._clock()
        if self._begun_at is None or (self._over_at is not None and now > self._over_at + 2 * self._lease):
            return None
        return timedelta(seconds=now - self._begun_at)


class _Trouble:
    """Backs off while the database or broker is away, and says so now and then instead of in every round.

    Args:
        explained: an error as one line, with its cure: a role without rights, say, is refused for ever.
    """

    def __init__(self, explained: Callable[[BaseException], str]) -> None:
        self._explained = explained
        self._count = 0
        self._logged_at = 0.0

    def met(self, error: Exception) -> timedelta:
        self._count += 1
        now = time.monotonic()
        if now - self._logged_at >= _LOG_EVERY or (self._count == 1 and now - self._logged_at >= 1):
            self._logged_at = now
            log.warning("relay: %s: %s (try %d)", type(error).__name__, self._explained(error), self._count)
        return timedelta(seconds=_PAUSES.after(self._count))

    def over(self) -> None:
        if self._count:
            log.warning("relay: works again after %d failed tries", self._count)
            self._count = 0
