"""What came in, as a row that the ledger can take."""

from dataclasses import dataclass
from uuid import UUID

from events.ledger import Envelope


@dataclass(frozen=True, slots=True)
class Arrival(Envelope):
    """The row of a message that came in.

    Attributes:
        source: who sent it; the bridge and its address if the message doesn't say.
        former: the id that it would have were it one of ours, or received by older code.
        named: the message says its source.
        forwarded: somebody else than its source sent it.
        sent_as: the id that it has at its source; "" if the message says none.
    """

    source: str = ""
    former: UUID | None = None
    named: bool = False
    forwarded: bool = False
    sent_as: str = ""


class OwnEvent(Exception):
    """A message that this very service has sent."""

    def __init__(self) -> None:
        super().__init__("it is an event of this service itself, by its source (EVENTS_SOURCE)")
