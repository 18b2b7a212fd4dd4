"""The work that all of them do, as each of our handlers does it: one row for each handler of an event.

They write it with the driver itself, in one round trip that is a transaction: nothing of ours slows them down.
"""

from collections.abc import Iterator
from typing import Any

QUEUE = "bench"
HANDLERS = ("OnConnection.0", "OnConnection.1", "OnConnection.2")
INSERT = "INSERT INTO bench_effects (handler, number) VALUES (%s, %s)"
AT_ONCE = 1000  # messages that are sent before the next are made
_LINES = [{"article": "spice, harvested by crawler 1", "quantity": "12.5 kg", "price": "199.90"}] * 5


def bodies(events: int) -> Iterator[dict[str, Any]]:
    """About 500 bytes of JSON for each event."""
    return ({"number": number, "customer": "Duke Leto Atreides", "lines": _LINES} for number in range(events))
