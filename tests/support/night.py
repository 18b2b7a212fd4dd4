"""Dead letters of a ledger, for those who look at them in Flower, and the few words that tests say about it."""

import html
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

from events.ledger.dead_letters import DeadLetterFilter
from events.ledger.envelope import Envelope
from events.ledger.history import EventRecord
from events.ledger.records import Failure
from support.flower import Answer, Flower
from support.store import Store
from support.system import System

EVIL = "<script>alert(1)</script>"
WHY = Failure("shop.SoldOut", "no more spice", "Traceback ...\nSoldOut", "shop.stock.take")


@contextmanager
def ledger(folder: Path) -> Iterator[tuple[System, Store]]:
    """A ledger with a handler, `hear`, and a broker: what a Flower needs."""
    with System("redis", folder).in_use() as system:
        store = Store(system.environment["EVENTS_DATABASE_URL"])
        store.subscribe("hear", max_attempts=1)
        try:
            yield system, store
        finally:
            store.ledger.close()


def nothing_is_dead(store: Store) -> Store:
    store.ledger.dead.discard(DeadLetterFilter(), "before")
    return store


def died(store: Store, count: int = 1, why: Failure = WHY, handler: str = "hear") -> list[UUID]:
    ids = [uuid4() for _ in range(count)]
    for event_id in ids:
        kind = "Said" if handler == "hear" else "Sung"
        with store.ledger.events.begin() as connection:
            data = json.dumps({"words": EVIL})
            store.ledger.events.append(
                connection, [Envelope(event_id, "a-1", kind, data, 1, datetime.now(UTC), 1, "{}")]
            )
        (wakeup,) = [one for one in store.take() if one.event_id == event_id]
        assert store.ledger.inbox.bury(store.claim(wakeup), why)
    return ids


def letter(event_id: UUID, handler: str = "hear") -> tuple[str, str]:
    return "letter", f"{event_id} {handler}"


def event(store: Store, event_id: UUID) -> EventRecord:
    found = store.ledger.history.event(event_id)
    assert found is not None
    return found


def deeds(store: Store, event_id: UUID) -> list[tuple[str, str]]:
    """What was done to it, and by whom."""
    return [(one.action, one.actor) for one in event(store, event_id).actions]


def state(store: Store, *ids: UUID) -> set[str]:
    return {store.row(event_id, "hear").state for event_id in ids}


def replays(flower: Flower, event_id: UUID, **headers: str) -> Answer:
    return flower.post("/dead-letters/selected", [("do", "replay"), letter(event_id)], **headers)


def said(flower: Flower, page: str = "/dead-letters") -> str:
    """The message on top of the next page."""
    found = re.search(r'id="said">(.*?)</div>', flower.sees(page), re.DOTALL)
    return html.unescape(found[1]) if found else ""
