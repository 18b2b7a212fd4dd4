"""Outbound: a bridge is a batch handler. Forwarding an event is a delivery like others, with retries and dead letters.

A bridge uses no database of its own. An event that came through a bridge is not sent back through that bridge.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import timedelta

from events.bridges.address import Address
from events.bridges.cloudevents import outgoing
from events.bridges.contract import AT_ONCE, HANDLER, KEY, Bridge, Message, Publisher
from events.errors import PartlySent, TransportError, Unsendable
from events.event import DomainEvent
from events.handling import Handler, Wanted
from events.integration import is_public
from events.ledger import SENT_AS, sender_of
from events.retry import Retry
from events.throttle import Backoff

log = logging.getLogger("events.bridges")


class _Patient(Retry):
    """Never pauses shorter than the backoff: else a server that asks for short pauses would use up the attempts."""

    def delay_after(self, error: BaseException, attempt: int) -> timedelta | None:
        asked = super().delay_after(error, attempt)
        return None if asked is None else max(asked, self.backoff_after(attempt))


# A server that is away comes back: attempts go on for about 16 hours, the later ones five minutes apart.
PATIENT = _Patient(
    max_attempts=200, backoff=timedelta(seconds=1), max_backoff=timedelta(minutes=5), never=(Unsendable,)
)


def forwarded(event_class: type[DomainEvent], names: Collection[str]) -> bool:
    """Whether a bridge forwards events of this class.

    Args:
        names: event types, `*` for all; empty for all public events (events.integration).
    """
    if not names:
        return is_public(event_class)
    return "*" in names or event_class.event_name in names


_PAUSES = Backoff(first=0.5, longest=15.0)  # after a failure: so long a process doesn't try again


class Forwarding:
    """The handler of a bridge is `forward`. Each process has its own publisher, made when it is first needed.

    While the server is away, `forward` mostly fails at once, and only now and then tries to send: events must not hold
    the worker's slots until a timeout. After the first failure the server is known to be away: no event is to blame,
    and the deliveries of a failed batch stay together.
    """

    def __init__(self, address: Address, bridge: Bridge, source: str) -> None:
        self._address = address
        self._bridge = bridge
        self._source = source
        self._lock = threading.Lock()
        self._publisher: Publisher | None = None
        self._process = 0
        self._failures, self._again_at, self._why = 0, 0.0, ""

    def forward(self, events: list[DomainEvent]) -> None:
        """Send these events to the bridge's server.

        Raises:
            PartlySent: some events have failed, each for its reason; or all have, as the server is still away.
            Unsendable: none of the events can ever be sent.
            TransportError: the server is away.
        """
        form, sealed = self._address.form, self._address.sealed
        messages = [
            outgoing(event, self._source, form=form, masked=is_public(type(event)), sealed=sealed)
            for event in events
            if not self._came_from_there(event)
        ]
        if not messages:
            return
        publisher = self._of_this_process()
        if (left := self._again_at - time.monotonic()) > 0:
            raise _none_sent(messages, TransportError(f"tried again in {left:.1f} s, after: {self._why}"))
        try:
            publisher.send(messages)
        except PartlySent as error:  # other events were sent: the server is there
            self._failures = 0
            if len(messages) == len(error.failed) == 1:
                raise next(iter(error.failed.values())) from None
            raise
        except Unsendable:
            raise
        except TransportError as error:
            is_away = self._failures > 0
            self._failures += 1
            self._again_at, self._why = time.monotonic() + _PAUSES.after(self._failures), str(error)
            if is_away:
                raise _none_sent(messages, error) from error
            raise
        self._failures = 0

    def close(self) -> None:
        with self._lock:
            publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.close()

    def _came_from_there(self, event: DomainEvent) -> bool:
        extra = event.metadata.model_extra or {}
        if extra.get(KEY) != self._address.name:
            return False
        is_a_copy = SENT_AS in extra and sender_of(event.event_id, extra) is None  # which is unknown there
        return not is_a_copy

    def _of_this_process(self) -> Publisher:
        with self._lock:
            if self._publisher is None or self._process != os.getpid():  # a fork must not use its parent's connection
                self._publisher, self._process = self._bridge.publisher(), os.getpid()
            return self._publisher


def _none_sent(messages: Sequence[Message], error: TransportError) -> TransportError:
    """An error of each message, so that the ledger doesn't split the batch to find out which message is to blame."""
    return error if len(messages) == 1 else PartlySent({message.event_id: error for message in messages})


def bridge_handlers(
    bridges: Iterable[tuple[Address, Bridge]], known: Collection[type[DomainEvent]], source: str
) -> list[Handler]:
    """The handlers of outbound bridges. `known`: the event classes of this process, with all handlers loaded."""
    names = {event.event_name for event in known}
    handlers = []
    for address, bridge in bridges:
        if not address.outbound:
            continue
        chosen = [event for event in known if forwarded(event, address.forward)]
        if unknown := sorted(set(address.forward) - names - {"*"}):
            log.warning("bridge %s: no event is named %s here", address.name, ", ".join(unknown))
        if not chosen:
            log.warning("bridge %s forwards nothing: no event here is public, or named by EVENTS_FORWARD", address.name)
            continue
        forwarding = Forwarding(address, bridge, source)
        events = tuple(sorted(chosen, key=lambda event: event.event_name))
        handlers.append(_handler(address, forwarding.forward, events))
    return handlers


def _handler(address: Address, call: Callable[..., None], events: tuple[type[DomainEvent], ...]) -> Handler:
    return Handler(
        name=f"{HANDLER}{address.name}",
        call=call,
        events=events,
        defined_at=f"EVENTS_BRIDGES, {address.scheme}",
        wants={"events": Wanted.EVENTS},
        retry=PATIENT,
        most=AT_ONCE,
        batch=True,
    )
