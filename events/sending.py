"""Sends a batch of wake-ups so that one bad row can't hold up the others, and a broker that is away costs little."""

import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from events.errors import TransportError, Unsendable
from events.ports import Outbox, Transport
from events.records import Failure, Group, Wakeup
from events.throttle import Throttle

log = logging.getLogger("events.relay")

_REFUSED = timedelta(seconds=1)  # what a broker didn't take is due again after this long
_SEARCH = 10.0  # seconds spent at most on finding out which rows of a batch are to blame
_PROOFS = 3  # times that a row is refused while its neighbours are taken, before it is given up


class Sending:
    """Used by one relay, in one thread."""

    def __init__(self, outbox: Outbox, transport: Transport) -> None:
        self._outbox = outbox
        self._transport = transport
        self._refused: dict[tuple[UUID, str], int] = {}
        self._throttle = Throttle(log)

    def send(self, groups: Sequence[Group]) -> Sequence[Group]:
        """Send the due wake-ups of one queue; those that the broker took. The others are due again in a second.

        One that can never be sent, and one that is refused again and again while its neighbours are taken, becomes
        a dead letter. If none is taken it is the trouble of the queue or the broker: nobody is blamed.
        """
        try:
            self._transport.send(groups)
            return groups
        except TransportError as error:
            self._throttle.warn(str(error))
            refused = self._search(groups, error)
        blame = len(refused) < len(groups)
        # They may have arrived all the same: a claim finds them pending, or a second one finds them done.
        again = [wakeup for group, reason in refused.items() for wakeup in group
                 if not self._is_given_up(wakeup, reason, blame=blame)]  # fmt: skip
        self._outbox.hand_back(again, _REFUSED)
        return [group for group in groups if group not in refused]

    def _search(self, groups: Sequence[Group], error: TransportError) -> dict[Group, TransportError | None]:
        """Those that were not taken, found by halving; with the reason if it was refused by itself."""
        if not isinstance(error, Unsendable) and not self._answers(groups[0][0].queue):
            return dict.fromkeys(groups)
        deadline = time.monotonic() + _SEARCH
        refused: dict[Group, TransportError | None] = {}
        parts = [(groups, error)]
        while parts:
            part, reason = parts.pop()
            if len(part) == 1:
                refused[part[0]] = reason
                continue
            if time.monotonic() > deadline:
                refused |= dict.fromkeys(part)
                continue
            middle = len(part) // 2
            for half in (part[:middle], part[middle:]):
                try:
                    self._transport.send(half)
                except TransportError as again:
                    parts.append((half, again))
        return refused

    def _answers(self, queue: str) -> bool:
        try:
            self._transport.waiting(queue)
        except TransportError:
            return False
        return True

    def _is_given_up(self, wakeup: Wakeup, reason: TransportError | None, *, blame: bool) -> bool:
        if reason is None:
            return False
        key = (wakeup.event_id, wakeup.handler)
        if blame:
            self._refused[key] = self._refused.get(key, 0) + 1
        if not isinstance(reason, Unsendable) and self._refused.get(key, 0) < _PROOFS:
            return False
        self._refused.pop(key, None)
        failure = Failure(f"{Unsendable.__module__}.{Unsendable.__qualname__}", str(reason)[:4000], "")
        if self._outbox.give_up(wakeup, failure):
            log.error("%s of event %s can't be sent, and is a dead letter: %s", wakeup.handler, wakeup.event_id, reason,
                      extra={"event_id": wakeup.event_id, "handler": wakeup.handler})  # fmt: skip
        return True
