"""Finds what went missing, and mends it: leases that ended, wake-ups that their queue no longer has, dead letters
without a copy, events that another program marked as processed."""

import logging
import os
import socket
from datetime import timedelta

from events.errors import TransportError
from events.hooks import Hooks
from events.ledger import Missing, Outbox, Recovery, Subscriptions
from events.relay.copying import Copying
from events.relay.dispatch import RelayLimits
from events.relay.outage import Outage
from events.relay.transport import Transport
from events.throttle import Throttle

log = logging.getLogger("events.relay")


class Recovering:
    """Looks for one relay, in the relay's thread.

    Args:
        outage: tells which leases may have ended only because the database was away.
    """

    def __init__(
        self,
        *,
        subscriptions: Subscriptions,
        outbox: Outbox,
        recovery: Recovery,
        transport: Transport,
        limits: RelayLimits,
        hooks: Hooks,
        outage: Outage,
    ) -> None:
        self._outbox = outbox
        self._recovery = recovery
        self._transport = transport
        self._limits = limits
        self._hooks = hooks
        self._outage = outage
        self._throttle, self._throttle_marked = Throttle(log), Throttle(log)
        self._copying = Copying(
            recovery=recovery,
            subscriptions=subscriptions,
            transport=transport,
            batch=limits.batch,
            throttle=self._throttle,
        )
        self._holder = f"{socket.gethostname()}.{os.getpid()}"

    def look(self) -> bool:
        """Ask the ledger once what is missing, and mend that. Returns whether more may be missing.

        Raises:
            sqlalchemy.exc.DBAPIError: the database failed; nothing is lost.
        """
        ago = self._outage.ended_ago()
        missing = self._recovery.missing(ago or timedelta(0))
        more = self._bring_back(missing, ago)
        if missing.marked:
            more = self._settle_marked() or more
        self._renew_held()
        if missing.overdue:
            self._resend()
        if missing.uncopied and self._transport.features.copies_dead_letters:
            self._copying.copy_all()
        return more

    def _bring_back(self, missing: Missing, ended_ago: timedelta | None) -> bool:
        """Make deliveries due again whose worker is gone, or that are in a wrong place. Returns whether there were any.

        `ended_ago`: how long ago a lease must have ended to be lost; None while no lease counts as lost.
        """
        moved = 0
        if missing.leases and ended_ago is not None:
            moved = self._recovery.expire_leases(self._limits.batch, self._outage.since(), ended_ago)
            if moved:
                self._hooks.expired(moved)
        if missing.paused:
            moved += self._recovery.unpause(self._limits.batch)
        if missing.astray:
            moved += self._recovery.bring_home(self._limits.batch)
        return moved > 0

    def _settle_marked(self) -> bool:
        """Decide about events that another program marked as processed. Returns whether there may be more."""
        settled = self._outbox.settle_marked(self._limits.batch)
        if settled.fanned_out.events:
            self._hooks.fanned_out(settled.fanned_out)
        for count, do in ((settled.fanned_out.events, "run all the same"), (settled.left, "don't run")):
            if count:
                self._throttle_marked.warn(
                    f"another program marked {count} events as processed before they were fanned out; their handlers "
                    f"{do} (EVENTS_MARKED_BY_OTHERS, docs/migrating.md)"
                )
        return settled.looked_at == self._limits.batch

    def _renew_held(self) -> None:
        """Tell the ledger that the wake-ups which this process holds itself, having no broker, are not lost."""
        if held := [wakeup for group in self._transport.held() for wakeup in group]:
            self._recovery.renew(held, self._limits.stale_after, self._holder)

    def _resend(self) -> None:
        """Send wake-ups again that were sent long ago, and that their queue no longer has."""
        for queue, sent in self._recovery.overdue().items():
            # A queue is first in, first out: the messages in it are those sent last. A delivery that was sent before
            # them and hasn't started is lost, or in a worker's hand, where a second wake-up does no harm. Its age
            # proves nothing. Wake-ups that a living worker holds are counted on neither side.
            try:
                missing = max(0, sent - self._transport.waiting(queue))
            except TransportError as error:
                self._throttle.warn(str(error))
                continue
            if lost := self._recovery.resend(queue, missing):
                log.warning("%d wake-ups of queue %s got lost; sending them again", lost, queue)
