"""From the outbox to the broker: which deliveries are due, which of them share a message, and what happens when
the broker takes none.

`transport` is the contract of what carries messages, which events.transport keeps; `relay` is the loop, in which
`dispatch` sends what is due and `recovering` finds what went missing.

May import: ledger, hooks and the words below. Open first: `relay`, the loop.
"""

from events.relay.dispatch import RelayLimits
from events.relay.grouping import GROUP_TIME
from events.relay.relay import Relay
from events.relay.transport import Transport, TransportFeatures

__all__ = [
    "GROUP_TIME",
    "Relay",
    "RelayLimits",
    "Transport",
    "TransportFeatures",
]
