"""Inbound: what others send becomes events of ours. Receive, write, acknowledge: in this order, a batch at a time.

A message that comes again has the same id and so changes nothing. One that can't become an event, or says something
else under an id that is known, is parked with its bytes, in the same step, and acknowledged: nothing is asked for again
and again.
"""

import json
import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import sha256
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

from sqlalchemy.exc import InternalError, ProgrammingError

from events.bridges.acceptance import Acceptance
from events.bridges.arrival import Arrival, OwnEvent
from events.bridges.contract import HANDLER, Received, Subscriber
from events.bridges.forms import NOT_STORED, is_attribute
from events.errors import TransportError, Unacceptable
from events.hooks import Hooks
from events.ledger import EventLog, Inbox, Parked, ParkingLot
from events.text import brief, storable
from events.throttle import Throttle

log = logging.getLogger("events.bridges")

_WAIT = 1.0  # seconds for a message, after which it looks whether it shall stop
_OUT_OF_ORDER = (ProgrammingError, InternalError)  # a table is missing, or may only be read
_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)  # between tries while the server or the database is away


class Receiver:
    """The loop of one inbound bridge; run by one thread.

    Args:
        name: of the bridge.
        accept: event types that it takes besides public ones, `*` for all.
        events: where accepted messages are written.
        lot: where the others are parked.
        inbox: knows whether an error means that the database is away.
        worker: shown with parked messages.
        place: where the bridge leads, which is kept with them.
    """

    def __init__(
        self,
        *,
        name: str,
        accept: Collection[str],
        subscriber: Subscriber,
        acceptance: Acceptance,
        events: EventLog,
        lot: ParkingLot,
        inbox: Inbox,
        hooks: Hooks,
        worker: str,
        place: str = "",
    ) -> None:
        self._name = name
        self._accept = accept
        self._subscriber = subscriber
        self._acceptance = acceptance
        self._events = events
        self._lot = lot
        self._inbox = inbox
        self._hooks = hooks
        self._worker = worker
        self._place = place
        self._throttle = Throttle(log)
        self._stopping = threading.Event()
        self._failures = 0

    def run(self) -> None:
        """Until `stop`. Outlives a server and a database that are away, and says so now and then."""
        try:
            while not self._stopping.is_set():
                self._guarded(self.step)
        finally:
            self._subscriber.close()

    def stop(self) -> None:
        """End after the batch in hand; from any thread, or a signal handler."""
        self._stopping.set()

    def step(self, wait: float = _WAIT) -> int:
        """One batch, for which it waits so many seconds; how many messages.

        Raises what is in the way: nothing of the batch is lost by it.
        """
        received = self._subscriber.receive(wait)
        if received and self._written(received):
            self._subscriber.acknowledge(received)
        return len(received)

    def _guarded(self, step: Callable[[], object]) -> None:
        try:
            step()
            self._failures = 0
        except TransportError as error:
            self._pause(f"bridge {self._name} waits for its server: {error}")
        except Exception as error:
            if not (self._inbox.is_away(error) or self._inbox.is_contention(error)):
                log.exception("bridge %s failed; it goes on", self._name)
            self._pause(f"bridge {self._name} tries again: {error}")

    def _pause(self, why: str) -> None:
        self._throttle.warn(why)
        self._stopping.wait(_PAUSES[min(self._failures, len(_PAUSES) - 1)])
        self._failures += 1

    def _written(self, received: Sequence[Received]) -> bool:
        """All of it is committed. While the database is away the batch is held, until we shall stop: then it isn't."""
        while True:
            try:
                self._write(received)
                self._failures = 0
                return True
            except Exception as error:
                if not (self._inbox.is_away(error) or self._inbox.is_contention(error)):
                    raise
                self._pause(f"bridge {self._name} waits for the database, with {len(received)} messages: {error}")
                if self._stopping.is_set():
                    return False

    def _write(self, received: Sequence[Received]) -> None:
        accepted, refused = self._sorted(received)
        if refused:
            self._acceptance.refresh()  # somebody may have subscribed to it a moment ago
            accepted, refused = self._sorted(received)
        if accepted:
            refused += self._append(accepted)
        for one, why in refused:
            parked = _parked(one, self._name, why, self._worker, {"from": self._place, "accept": list(self._accept)})
            self._lot.park(parked)
            self._hooks.parked(parked.reason)
            log.error("a message of bridge %s from %s can't be accepted: %s: %s; `events parked show %s` has it",
                      self._name, one.address, why.reason, brief(why), parked.id)  # fmt: skip

    def _sorted(
        self, received: Sequence[Received]
    ) -> tuple[list[tuple[Received, Arrival]], list[tuple[Received, Unacceptable]]]:
        """Those that become events, in their order, and those that can't."""
        accepted, refused = [], []
        for one in received:
            try:
                accepted.append((one, self._acceptance.envelope(one, self._name, self._accept)))
            except Unacceptable as error:
                refused.append((one, error))
            except OwnEvent:
                log.debug("bridge %s: an event of our own came back", self._name)
        return accepted, refused

    def _append(self, accepted: Sequence[tuple[Received, Arrival]]) -> list[tuple[Received, Unacceptable]]:
        """In one transaction; if that is refused for what is in it, one by one, to find whose fault it is.

        A table that is missing or read-only is no message's fault: they wait until somebody has put it right.
        """
        try:
            with self._events.begin() as connection:
                self._acceptance.write(connection, [arrival for _, arrival in accepted])
            return []
        except Exception as error:
            if self._inbox.is_away(error) or self._inbox.is_contention(error) or isinstance(error, _OUT_OF_ORDER):
                raise
            if len(accepted) == 1:
                if isinstance(error, Unacceptable):
                    return [(accepted[0][0], error)]
                return [(accepted[0][0], Unacceptable(NOT_STORED, brief(error, 1000)))]
            return [one for pair in accepted for one in self._append([pair])]


def _parked(received: Received, bridge: str, error: Unacceptable, worker: str, taken: Mapping[str, Any]) -> Parked:
    """The record of a message; the same message has the same id, so that it is parked once.

    `taken`: which bridge it was, and what that took: when it is replayed no other's leave counts.

    What it says belongs to that: on some servers its sender says its position.
    """
    said = sorted((name, value) for name, value in received.headers.items() if is_attribute(name))
    content = sha256(json.dumps([said, received.event_type]).encode() + received.body).hexdigest()
    place = storable(f"{bridge} {received.address} {received.position} {content}")
    properties = {
        "bridge": bridge,
        "headers": dict(received.headers),
        "address": received.address,
        "position": received.position,
        "event_type": received.event_type,
        "content_type": received.headers.get("content-type"),
        **taken,
    }
    return Parked(
        uuid5(NAMESPACE_URL, place) if received.position else uuid4(),
        f"{HANDLER}{bridge}", error.reason, str(error), received.body, properties, worker,
    )  # fmt: skip
