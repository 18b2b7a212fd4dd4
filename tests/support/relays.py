"""A relay of a test's own, and a broker that remembers what it was given."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from events.hooks import Hooks
from events.ledger.records import Group
from events.relay.dispatch import RelayLimits
from events.relay.relay import Relay
from events.relay.transport import TransportFeatures
from support.store import HOUR, Store


class Recorded:
    """A transport that only remembers."""

    name = "recorded"
    features = TransportFeatures(copies_dead_letters=True)

    def __init__(self) -> None:
        self.groups: list[Group] = []

    def send(self, groups: Sequence[Group]) -> None:
        self.groups += groups

    def waiting(self, queue: str) -> int:
        return len(self.groups)

    def held(self) -> Sequence[Group]:
        return ()

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"nobody asks it to {name}")


def relay_of(
    store: Store, transport: Recorded, *, batch: int = 500, max_in_flight: int = 1000, hooks: Hooks | None = None
) -> Relay:
    ledger, limits = store.ledger, RelayLimits(batch, max_in_flight, None, HOUR, timedelta(seconds=1))
    return Relay(
        subscriptions=ledger.subscriptions, outbox=ledger.outbox, recovery=ledger.recovery,
        transport=transport, limits=limits, hooks=hooks,  # type: ignore[arg-type]
    )  # fmt: skip
