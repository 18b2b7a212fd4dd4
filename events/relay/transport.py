"""The contract between a relay and a transport, which carries wake-ups. events.transport has the implementations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from events.ledger import DeadLetter, Group, Parked


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportFeatures:
    """What a transport does besides sending.

    Attributes:
        holds_itself: wake-ups wait in this very process and die with it, so each process bounds how many it holds. Else
            a broker holds the wake-ups of all processes, and the ledger counts them.
        copies_dead_letters: the broker has a queue for copies of dead letters.
    """

    holds_itself: bool = False
    copies_dead_letters: bool = False


class Transport(Protocol):
    """Carries wake-ups to workers. It may lose, repeat, delay and reorder them: the ledger decides."""

    name: str
    features: TransportFeatures

    def send(self, groups: Sequence[Group]) -> None:
        """Give each group to the broker as one message.

        Raises:
            NotTaken: names the groups that have not arrived, each with the reason: Unsendable if it never can be sent.
                The others have arrived.
            TransportError: it isn't known which groups have arrived.
        """

    def send_dead(self, letters: Sequence[DeadLetter]) -> None:
        """Put copies into the dead-letter queue. Raises TransportError."""

    def send_parked(self, message: Parked) -> None:
        """Put a parked message back into its queue as it came. Raises TransportError."""

    def waiting(self, queue: str) -> int:
        """The number of messages in the queue, without those in a worker's hand. Raises TransportError."""

    def held(self) -> Sequence[Group]:
        """The groups that wait in this very process and die with it; none with a real broker."""

    def close(self) -> None: ...
