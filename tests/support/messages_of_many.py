"""Messages of several deliveries, in the ledger."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

from events.ledger.records import Claim, Due, Group, Wakeup
from support.store import HOUR, Store


def in_groups_of(size: int, due: Sequence[Due]) -> list[Group]:
    return [tuple(one.wakeup for one in due[start : start + size]) for start in range(0, len(due), size)]


def take(store: Store, size: int, limit: int = 1000, stale_after: timedelta = HOUR) -> list[Group]:
    """Due deliveries, so many to a message."""
    store.ledger.outbox.fan_out(1000)
    with store.ledger.outbox.due("q", limit) as due:
        groups = in_groups_of(size, due.deliveries)
        due.mark(groups, stale_after)
    return groups


def sent(store: Store, count: int, size: int, stale_after: timedelta = HOUR) -> list[Group]:
    """New deliveries on their way, so many to a message."""
    store.subscribe()
    store.publish(*(uuid4() for _ in range(count)))
    return take(store, size, stale_after=stale_after)


def claim(store: Store, group: Group, lease: timedelta = HOUR, worker: str = "w1") -> list[Claim]:
    return store.ledger.inbox.claim("hear", {one.event_id: one.token for one in group}, worker, lease)


def states(store: Store, wakeups: Sequence[Wakeup]) -> list[str]:
    return [store.row(wakeup.event_id).state for wakeup in wakeups]
