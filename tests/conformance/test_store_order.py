"""One relay, one process and no failure: deliveries start in the order in which their events were published."""

import random
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import pytest

from events.definition.ids import uuid7
from events.ledger.dead_letters import DeadLetter
from events.ledger.parked import Parked
from events.ledger.records import Group, Subscription
from events.relay.dispatch import RelayLimits
from events.relay.relay import Relay
from events.relay.transport import TransportFeatures
from support.store import HOUR, Store


class Line:
    """A broker's queue: first in, first out."""

    name, features = "line", TransportFeatures(copies_dead_letters=True)

    def __init__(self) -> None:
        self.groups: deque[Group] = deque()

    def send(self, groups: Sequence[Group]) -> None:
        self.groups.extend(groups)

    def send_dead(self, letters: Sequence[DeadLetter]) -> None: ...

    def send_parked(self, message: Parked) -> None: ...

    def waiting(self, queue: str) -> int:
        return len(self.groups) if queue else 0

    def held(self) -> Sequence[Group]:
        return ()

    def close(self) -> None: ...


@pytest.mark.parametrize("batch", [False, True], ids=["groups", "batches"])
def test_deliveries_start_in_the_order_of_their_events(store: Store, batch: bool) -> None:
    # Given a handler that has been timed, and events of three types that are published in bursts while a relay runs
    rng, line, ledger = random.Random(7), Line(), store.ledger
    kinds = ["Said", "Seen", "Felt"]
    ledger.subscriptions.subscribe(
        [
            Subscription(event_type=kind, handler="hear", queue="q", max_attempts=3, most=20, batch=batch)
            for kind in kinds
        ]
    )
    ledger.subscriptions.note_pace("hear", 0.001)
    limits = RelayLimits(50, 1000, None, HOUR, timedelta(seconds=1))
    relay = Relay(
        subscriptions=ledger.subscriptions,
        outbox=ledger.outbox,
        recovery=ledger.recovery,
        transport=line,
        limits=limits,
    )
    published, started = [], []
    while len(published) < 400 or line.groups or relay.step():
        some = range(min(rng.choice([0, 1, 3, 40, 120]), 400 - len(published)))
        published += [store.publish(uuid7(), event_type=rng.choice(kinds)) for _ in some]
        relay.step()
        # When one process starts what comes, a message at a time
        for _ in range(min(len(line.groups), rng.randint(0, 5))):
            group = line.groups.popleft()
            claims = ledger.inbox.claim("hear", {one.event_id: one.token for one in group}, "w", HOUR)
            started += [claim.envelope.id for claim in claims]
            with ledger.inbox.begin() as connection:
                ledger.inbox.succeed(connection, claims)
    # Then none comes behind a later one
    behind = [later for earlier, later in pairwise(started) if later < earlier]
    assert behind == []
    assert started == published
