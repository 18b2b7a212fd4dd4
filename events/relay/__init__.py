"""From the outbox to the broker: which deliveries are due, which of them share a message, and what happens when
the broker takes none.

`transport` is a contract that events.transport keeps: the relay gives it messages. `relay` is the loop, in which
`dispatch` sends the due deliveries and `recovering` finds the lost ones.

May import: ledger, hooks and the words below. Open first: `relay`, the loop.
"""

from events.relay.dispatch import RelayLimits
from events.relay.relay import Relay
from events.relay.transport import Transport, TransportFeatures

__all__ = [
    "Relay",
    "RelayLimits",
    "Transport",
    "TransportFeatures",
]
