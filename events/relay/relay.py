"""The relay turns events into deliveries, and sends the due ones. Any number of relays may run at once; none leads.

Only relays send wake-ups. New, retrying, replayed, lost and stale deliveries are all the same to them: their `due_at`
has passed.
"""

import threading
import time
from collections.abc import Collection
from datetime import timedelta

from events.hooks import Hooks
from events.ledger import Handled, Listener, Outbox, Recovery, Subscriptions
from events.ration import Ration
from events.relay.dispatch import Dispatch, RelayLimits
from events.relay.outage import FailedRounds, Outage
from events.relay.recovering import Recovering
from events.relay.transport import Transport
from events.watchdog import Pulse

# After a round that moved something, the relay looks again soon, and then less and less often: so it finds events that
# were committed without waking it.
_SOON, _LATE = timedelta(milliseconds=5), timedelta(milliseconds=160)
_LESS = 2  # each wait is so many times as long as the one before
_FULL = timedelta(milliseconds=50)  # between looks for room
_LOOK_EVERY = timedelta(seconds=1)  # at most, between looks for missing things
_DUE_EVERY = timedelta(milliseconds=50)  # at most, between looks for due deliveries while new events are sent at once
_ROUND_EVERY = timedelta(seconds=20)  # at most, between full rounds, whether the relay is idle or not


class Relay:
    """Moves events of one ledger to one transport.

    Args:
        handlers, queues, forms: see Dispatch.
    """

    def __init__(
        self,
        *,
        subscriptions: Subscriptions,
        outbox: Outbox,
        recovery: Recovery,
        transport: Transport,
        limits: RelayLimits,
        hooks: Hooks | None = None,
        handlers: Collection[Handled] | None = None,
        queues: Collection[str] | None = None,
        forms: Collection[tuple[str, str]] = (),
    ) -> None:
        self._outbox = outbox
        self._recovery = recovery
        self._transport = transport
        self._limits = limits
        self._hooks = hooks or Hooks()
        self._outage = Outage(limits.lease.total_seconds())
        self._dispatch = Dispatch(
            subscriptions=subscriptions,
            outbox=outbox,
            transport=transport,
            limits=limits,
            hooks=self._hooks,
            handlers=handlers,
            queues=queues,
            forms=forms,
        )
        self._recovering = Recovering(
            subscriptions=subscriptions,
            outbox=outbox,
            recovery=recovery,
            transport=transport,
            limits=limits,
            hooks=self._hooks,
            outage=self._outage,
        )
        self._stopping = threading.Event()
        self._listener: Listener | None = None
        self.pulse = Pulse()  # beats every round
        # In seconds. A full round tells the ledger, for example, which wake-ups this process holds, before they would
        # be taken for lost.
        self._round_every = min(_ROUND_EVERY, limits.stale_after / 3).total_seconds()
        self._look_every = min(_LOOK_EVERY, limits.poll_interval).total_seconds()
        self._due_every = _DUE_EVERY.total_seconds()
        # While dead rows can't be removed from the database, these may take long: see events.store.low_water.
        self._looks, self._waits = Ration(), Ration()
        self._more = False  # whether there may be something to do at once
        self._next_due = 0.0  # the time of the next look for due deliveries
        self._next_look = 0.0  # the time of the next look for lost wake-ups, ended leases and dead letters to copy

    def run(self) -> None:
        """Relay until `stop` is called. While the database or the broker is away, the loop goes on."""
        self._listener = listener = self._outbox.listen()
        soon, trouble, woken = _SOON, FailedRounds(self._recovery.explained), True
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
        """The seconds for which the relay has been stuck: 0 while it works, or waits as it should."""
        return max(0.0, self.pulse.silence() - self._limits.poll_interval.total_seconds())

    @property
    def relays(self) -> bool:
        """Whether `run` has begun, and `stop` was not called."""
        return self._listener is not None and not self.stopped

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """End `run` after the batch in hand. May be called from any thread."""
        self._stopping.set()
        self.wake()

    def wake(self) -> None:
        """Make the relay look now, as something may be due. May be called from any thread."""
        if self._listener is not None:
            self._listener.wake()

    def has_room(self) -> None:
        """A message was done with, so there is room for another. May be called from any thread."""
        if self._dispatch.full:
            self.wake()

    def step(self, *, look: bool = True) -> int:
        """Do one round. Returns how many events and deliveries it moved.

        Args:
            look: whether to look for due deliveries if there are no new events. Without it that is done now and then.

        Raises:
            sqlalchemy.exc.DBAPIError: the database failed; nothing is lost.
        """
        due = self._dispatch.send_due() if self._dispatch.is_behind else 0
        new = self._dispatch.fan_out()
        if new.events:
            self._hooks.fanned_out(new)
        if new.sent:
            self._dispatch.send(new.sent)
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = 0.0  # if the look fails, or there is more, the next round looks again
            if not self._recovering.look():
                self._looks.took(time.monotonic() - now)
                self._next_look = now + max(self._look_every, self._looks.wait)
        if not due and (new.waiting or self._more or now >= self._next_due or (look and not new.events)):
            due = self._dispatch.send_due()
            self._next_due = time.monotonic() + self._due_every
        self._more = bool(new.waiting or due)
        return new.events + due

    def _idle(self, listener: Listener) -> None:
        """Wait until there may be something to do. That costs one query a poll interval."""
        poll, until = self._limits.poll_interval, time.monotonic() + self._round_every
        if self._dispatch.full:
            listener.wait(_FULL)
            return
        due_in = self._due_in()
        if not due_in:  # and yet nothing moved: the delivery waits for the broker, or for the rest of its batch
            listener.wait(min(_FULL, self._dispatch.linger()))
            return
        while not listener.wait(min(due_in, poll)) and due_in > poll and time.monotonic() < until:
            self.pulse.beat()
            due_in = self._due_in()
            if not due_in:
                return

    def _due_in(self) -> timedelta:
        if self._waits.wait:
            return timedelta(seconds=self._waits.wait)
        begun = time.monotonic()
        due_in = self._outbox.due_in(copies=self._transport.features.copies_dead_letters)
        self._waits.took(time.monotonic() - begun)
        return timedelta.max if due_in is None else due_in
