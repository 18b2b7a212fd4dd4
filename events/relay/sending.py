"""Sends wake-ups, and bears a broker that doesn't take them: nothing is lost by that, and no delivery is to blame.

A full queue, or a broker without memory or disk, says nothing about a message. Only the delivery of a wake-up that
can't be put on the wire at all becomes a dead letter. The other deliveries wait, longer and longer, queue by queue.
"""

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from events.errors import NotTaken, TransportError, Unsendable
from events.ledger import Group, Outbox, failure_without_trace
from events.relay.transport import Transport
from events.throttle import Backoff, Throttle

log = logging.getLogger("events.relay")

_PAUSES = Backoff(first=0.5, longest=15.0)  # before a queue that took nothing is tried again
_SEARCH = 10.0  # seconds that the search for the messages which are in the way of the others may take


@dataclass
class _Refusal:
    """A queue that refuses messages: since when, how often in a row, and until when nothing is sent to it.

    `since` and `until` are in seconds of time.monotonic().
    """

    since: float
    count: int = 0
    until: float = 0.0


class Sending:
    """Sends the wake-ups of one relay, in the relay's thread."""

    def __init__(self, outbox: Outbox, transport: Transport) -> None:
        self._outbox = outbox
        self._transport = transport
        self._refusals: dict[str, _Refusal] = {}
        self._throttle = Throttle(log)

    def resting(self) -> set[str]:
        """The queues that took nothing a moment ago, so that nothing should be sent to them now."""
        now = time.monotonic()
        return {queue for queue, refusal in self._refusals.items() if refusal.until > now}

    def send(self, groups: Sequence[Group]) -> Sequence[Group]:
        """Send these wake-ups. Returns the groups that the broker took; the others are due again after a pause."""
        try:
            self._transport.send(groups)
        except NotTaken as error:
            refused = error.refused
        except TransportError as error:  # some may have arrived all the same: their claim finds them pending
            refused = self._search(groups, error)
            if len(refused) < len(groups):  # only these are in the way; the other messages need not rest
                self._wait(refused, timedelta(seconds=_PAUSES.longest))
                self._throttle.warn(f"{len(refused)} messages can't be sent, and are tried again: {error}")
                return [group for group in groups if group not in refused]
        else:
            refused = {}
        unsendable = {group: why for group, why in refused.items() if isinstance(why, Unsendable)}
        for group, why in unsendable.items():
            self._give_up(group, why)
        taken = [group for group in groups if group not in refused]
        self._note(taken, {group: why for group, why in refused.items() if group not in unsendable})
        return taken

    def _search(self, groups: Sequence[Group], error: TransportError) -> dict[Group, TransportError]:
        """The groups that the broker refuses while it takes the others, found by halving; all if the broker is away."""
        try:
            self._transport.waiting(groups[0][0].queue)
        except TransportError:
            return dict.fromkeys(groups, error)
        refused: dict[Group, TransportError] = {}
        parts, until = [(groups, error)], time.monotonic() + _SEARCH
        while parts:
            part, why = parts.pop()
            if len(part) == 1 or time.monotonic() > until:
                refused |= dict.fromkeys(part, why)
                continue
            for half in (part[: len(part) // 2], part[len(part) // 2 :]):
                try:
                    self._transport.send(half)
                except NotTaken as again:
                    refused |= again.refused
                except TransportError as again:
                    parts.append((half, again))
        return refused

    def _wait(self, groups: Collection[Group], pause: timedelta) -> None:
        self._outbox.hand_back([wakeup for group in groups for wakeup in group], pause)

    def _note(self, taken: Sequence[Group], refused: dict[Group, TransportError]) -> None:
        took = {group[0].queue for group in taken}
        by_queue: dict[str, list[Group]] = {}
        for group in refused:
            by_queue.setdefault(group[0].queue, []).append(group)
        for queue in took - by_queue.keys():
            if self._refusals.pop(queue, None) is not None:
                log.info("queue %s takes messages again", queue)
        for queue, groups in by_queue.items():
            pause = self._refused(queue, groups, refused[groups[0]], some_taken=queue in took)
            self._wait(groups, timedelta(seconds=pause))

    def _refused(self, queue: str, groups: Collection[Group], why: TransportError, *, some_taken: bool) -> float:
        now = time.monotonic()
        refusal = self._refusals.setdefault(queue, _Refusal(now))
        refusal.count = 0 if some_taken else refusal.count + 1  # a queue that took some soon has room for more
        pause = _PAUSES.after(refusal.count)
        refusal.until = now + pause
        deliveries = sum(map(len, groups))
        self._throttle.warn(
            f"queue {queue} didn't take {deliveries} deliveries, which wait in the ledger (it has refused messages "
            f"for {now - refusal.since:.0f} s): {why}"
        )
        return pause

    def _give_up(self, group: Group, reason: TransportError) -> None:
        failure = failure_without_trace(reason)
        for wakeup in group:
            if self._outbox.give_up(wakeup, failure):
                log.error(
                    "%s of event %s can't be sent, and is a dead letter: %s",
                    wakeup.handler,
                    wakeup.event_id,
                    reason,
                    extra={"event_id": wakeup.event_id, "handler": wakeup.handler},
                )
