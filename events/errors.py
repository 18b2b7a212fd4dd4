"""Every error this package raises, in one tree.

    EventsError
    ├── ConfigurationError      a setting, celeryconfig.py or URL is wrong: nothing starts
    │   └── SchemaError         the database lacks our tables, or has old ones: run `events migrate`
    ├── DefinitionError         an event or handler is declared wrongly: raised while its module is imported
    ├── PublishError            publish() refused an event: nothing was written
    │   ├── PayloadTooLarge     its data has more bytes than EVENTS_MAX_PAYLOAD_BYTES allows
    │   └── EventIdTaken        an event of its id is stored already, with other content
    ├── EventDataError          stored data doesn't fit its event class: names event, field and value
    ├── NewerEvent              stored by newer code than this process runs
    ├── UnknownHandler          no handler of that name in this process
    ├── HandlerError            a handler broke a rule while it ran
    │   ├── UnawaitedCoroutine  it called an async function and never awaited it
    │   ├── TransactionMisused  it committed or rolled back the delivery's own transaction
    │   ├── KeepsToItself       it changes more than rows, so its deliveries share no transaction
    │   ├── WorkerLost          its process died, or its lease ran out
    │   ├── TaskFailed          a plain task failed that a worker without a broker ran
    │   ├── Terminated          its process was ended by remote control
    │   └── TimeLimitExceeded   it ran longer than its time limit
    ├── ForkedInTransaction     this process was forked within a transaction on SQLite, and may not use that file
    ├── DatabaseAway            the database went away during an attempt, which isn't counted
    ├── LeaseLost               the delivery is no longer ours: effects are rolled back
    ├── TransportError          the broker, or the server of a bridge, refused or didn't answer
    │   ├── Unsendable          this message can't be put on the wire, whatever the broker says
    │   ├── NotTaken            the broker took all messages but these
    │   ├── PartlySent          of a batch these failed, each for its reason; the others have arrived
    │   └── Blocked             the server is there, and says that it takes nothing now
    ├── Unacceptable            a message that came by a bridge can't become an event: it is parked
    ├── DeliveryFailed          what Celery and Flower see of a delivery that ended as a dead letter
    ├── NoSuchEvent             an operator named an event that the ledger doesn't have
    ├── NoSuchDeadLetter        nothing dead matches what an operator asked for
    ├── NoSuchParkedMessage     no parked message has the id that an operator gave
    ├── NoSuchHandler           no handler of the name that an operator gave is subscribed, and nothing waits for it
    ├── AmbiguousId             several ids begin as an operator wrote
    ├── EditingIsOff            EVENTS_EDIT doesn't allow to correct the data of a dead letter
    ├── WhichHandler            the event to be corrected is a dead letter of several handlers
    ├── StillRunning            a handler can't be retired: living workers have it, and would subscribe it again
    └── StillStarting           a handler is paused or retired, and what was begun earlier may still start a delivery

`RetryAfter` (events.retry) is no error of ours but a handler's request, so it stands apart. Exceptions that a module
raises for its neighbours to catch, and that go no further, are no EventsError, and stand where they are raised.
Messages name the culprit and the cure. No message ever contains a password.
"""

from collections.abc import Mapping
from typing import Any


class EventsError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(EventsError):
    """A setting is wrong; the message is one line that names the setting and the cure."""


class SchemaError(ConfigurationError):
    """The tables of the ledger are missing or old."""


class DefinitionError(EventsError):
    """An event or handler is declared wrongly; raised at import, names every place involved."""


class PublishError(EventsError):
    """An event can't be published; nothing of the call was written."""


class PayloadTooLarge(PublishError):
    """An event's data exceeds `EVENTS_MAX_PAYLOAD_BYTES`."""


class EventIdTaken(PublishError):
    """An event of this id is stored already, with other content; both types and what differs are named.

    Args:
        found: the event that is stored, and what differs, in words.
    """

    def __init__(self, message: str, found: str = "") -> None:
        self.found = found
        super().__init__(message)


class EventDataError(EventsError):
    """Stored data does not fit the event class. Never retried: the same bytes fail again."""


class NewerEvent(EventsError):
    """An event of a newer schema version than this process knows. Retried: a worker with newer code may be coming."""


class UnknownHandler(EventsError):
    """No handler of this name is registered in this process."""


class HandlerError(EventsError):
    """A handler broke a rule while it ran."""


class UnawaitedCoroutine(HandlerError):
    """A handler called an async function without awaiting it, so its work was never done."""


class TransactionMisused(HandlerError):
    """A handler ended the delivery's own transaction; effects and outcome must commit together."""


class KeepsToItself(HandlerError):
    """A handler changes more than rows: settings, a role, locks. Raised only in company; alone it may."""


class WorkerLost(HandlerError):
    """The process that ran the handler died, or stopped extending its lease."""


class TaskFailed(HandlerError):
    """A plain task failed that a worker without a broker ran; the cause is the task's own error. Never retried."""


class Terminated(HandlerError):
    """The process that ran the handler was ended by remote control."""


class TimeLimitExceeded(HandlerError):
    """The handler ran longer than its time limit."""


class ForkedInTransaction(EventsError):
    """This process was forked while its parent was in a transaction on the same SQLite file, which it would spoil."""


class DatabaseAway(EventsError):
    """An attempt was cut short by the database. Never raised: it stands in the history of the delivery."""


class LeaseLost(EventsError):
    """Another attempt owns this delivery now; this one's effects are rolled back."""


class TransportError(EventsError):
    """The broker, or the server of a bridge, refused messages or didn't answer; the ledger sends them again."""


class Unsendable(TransportError):
    """This message can't be put on the wire: a queue's name that is too long for the protocol, for instance."""


class NotTaken(TransportError):
    """The broker took all messages but these.

    Args:
        refused: what was not taken (of events.ledger.Group), and why: `Unsendable`, or what the broker said.
    """

    def __init__(self, refused: Mapping[Any, TransportError]) -> None:
        self.refused = dict(refused)
        super().__init__(f"{len(self.refused)} messages were not taken: {next(iter(self.refused.values()), '')}")


class PartlySent(TransportError):
    """Some of a batch, perhaps all, were not sent, none for the sake of another; the others are not to be sent again.

    Args:
        failed: event id to what is wrong with it; `RetryAfter` and `Unsendable` mean what they always do.
    """

    def __init__(self, failed: Mapping[str, Exception]) -> None:
        self.failed = dict(failed)
        super().__init__(f"{len(self.failed)} events were not sent; the first: {next(iter(self.failed.values()), '')}")


class Blocked(TransportError):
    """The server of a bridge is connected, and says that it takes nothing now: it is short of memory or disk."""


class Unacceptable(EventsError):
    """A message that came by a bridge, and that can't become an event. `reason`: one of events.bridges.REASONS."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(detail)


class DeliveryFailed(EventsError):
    """Raised towards Celery for a delivery that became a dead letter."""


class NoSuchEvent(EventsError):
    """The ledger has no such event."""


class NoSuchDeadLetter(EventsError):
    """Nothing dead matches."""


class NoSuchParkedMessage(EventsError):
    """Nothing parked has that id."""


class NoSuchHandler(EventsError):
    """No handler of that name is subscribed, and nothing waits for it."""


class AmbiguousId(EventsError):
    """Several ids begin so."""


class EditingIsOff(EventsError):
    """EVENTS_EDIT is not set."""


class WhichHandler(EventsError):
    """The event is a dead letter of several handlers."""


class StillRunning(EventsError):
    """Living workers have the handler, so they would subscribe it again."""


class StillStarting(EventsError):
    """A handler is paused or retired, but what was begun earlier may still start a delivery of it."""
