"""From the outbox to the broker: which deliveries are due, which of them share a message, and what happens when
the broker takes none.

May import: ledger, hooks and the words below. Open first: `relay`, the loop.
"""

from events.relay.dispatch import RelayLimits
from events.relay.grouping import GROUP_TIME
from events.relay.relay import Relay

__all__ = [
    "GROUP_TIME",
    "Relay",
    "RelayLimits",
]
