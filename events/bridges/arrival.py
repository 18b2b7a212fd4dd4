"""Messages that came in, as rows for the ledger."""

from dataclasses import dataclass
from uuid import UUID

from events.ledger import Envelope


@dataclass(frozen=True, slots=True)
class Arrival(Envelope):
    """The row of a message that came in.

    Attributes:
        source: the service that the event is of; the bridge and its address if the message doesn't say.
        former: the id that the row would have if this service had published it, or if older code had received it.
        named: whether the message says its source.
        forwarded: whether another service than its source sent it.
        sent_as: the id that the event has at its source; "" if the message says none.
    """

    source: str = ""
    former: UUID | None = None
    named: bool = False
    forwarded: bool = False
    sent_as: str = ""


class OwnEvent(Exception):
    """The message is an event of this very service, which has come back."""

    def __init__(self) -> None:
        super().__init__("it is an event of this service itself, by its source (EVENTS_SOURCE)")
