"""Inbound: messages of other services become events. Receive, write, acknowledge: in this order, a batch at a time.

A message that comes again has the same id, and so changes nothing. A message that can't become an event, or whose id is
that of another event, is parked with its bytes in the same step, and acknowledged: no message comes again for ever.
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

_WAIT = 1.0  # seconds to wait for a message, before the loop looks whether it shall stop
_OUT_OF_ORDER = (ProgrammingError, InternalError)  # errors of a table that is missing, or read-only
_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)  # seconds between tries while the server or the database is away


class Receiver:
    """The loop of an inbound bridge. One thread runs it.

    Args:
        name: the name of the bridge.
        accept: event types that the bridge accepts besides public events, `*` for all.
        events: the log to which accepted messages are written.
        lot: the lot where the other messages are parked.
        inbox: tells whether an error means that the database is away.
        worker: the name of this process, kept with parked messages.
        place: the `Address.place` of the bridge, kept with parked messages.
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
        """Run the loop until `stop`. While the server or the database is away, it waits, and warns now and then."""
        try:
            while not self._stopping.is_set():
                self._guarded(self.step)
        finally:
            self._subscriber.close()

    def stop(self) -> None:
        """End the loop after the batch in hand. May be called from any thread, or a signal handler."""
        self._stopping.set()

    def step(self, wait: float = _WAIT) -> int:
        """Receive, write and acknowledge a batch.

        Args:
            wait: seconds to wait for the first message.
        Returns:
            The number of messages.
        Raises:
            Exception: any error of the server or the database; no message of the batch is lost.
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
        """Write the batch; while the database is away, try again. Returns False if the loop shall stop before that."""
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
            self._acceptance.refresh()  # a handler may have been subscribed a moment ago
            accepted, refused = self._sorted(received)
        if accepted:
            refused += self._append(accepted)
        for message, error in refused:
            self._park(message, error)

    def _park(self, message: Received, error: Unacceptable) -> None:
        bridge = {"from": self._place, "accept": list(self._accept)}
        parked = _parked(message, self._name, error, self._worker, bridge)
        self._lot.park(parked)
        self._hooks.parked(parked.reason)
        log.error(
            "a message of bridge %s from %s can't be accepted: %s: %s; `events parked show %s` has it",
            self._name,
            message.address,
            error.reason,
            brief(error),
            parked.id,
        )

    def _sorted(
        self, received: Sequence[Received]
    ) -> tuple[list[tuple[Received, Arrival]], list[tuple[Received, Unacceptable]]]:
        """The messages that become events, in their order, and the messages that can't."""
        accepted, refused = [], []
        for message in received:
            try:
                accepted.append((message, self._acceptance.envelope(message, self._name, self._accept)))
            except Unacceptable as error:
                refused.append((message, error))
            except OwnEvent:
                log.debug("bridge %s: an event of our own came back", self._name)
        return accepted, refused

    def _append(self, accepted: Sequence[tuple[Received, Arrival]]) -> list[tuple[Received, Unacceptable]]:
        """Store all events in one transaction; if a message makes it fail, each event alone. Returns refused messages.

        A table that is missing or read-only is no message's fault: the messages wait until the table is mended.
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
            return [refused for pair in accepted for refused in self._append([pair])]


def _parked(received: Received, bridge: str, error: Unacceptable, worker: str, origin: Mapping[str, Any]) -> Parked:
    """The record of a message. A message that comes again has the same id, so that it is parked once.

    The id is made of the content, too, as on some servers the sender chooses the position.

    Args:
        origin: the place of the bridge, and the event types that it accepts: these count when the message is replayed.
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
        **origin,
    }
    record_id = uuid5(NAMESPACE_URL, place) if received.position else uuid4()
    return Parked(record_id, f"{HANDLER}{bridge}", error.reason, str(error), received.body, properties, worker)
