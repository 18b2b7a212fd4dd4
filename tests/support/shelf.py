"""A ledger with something in every list that an operator can ask for, under names as long as real ones."""

import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

from events.ledger.dead_letters import DeadLetterFilter
from events.ledger.envelope import Envelope
from events.ledger.parked import Parked, ParkedFilter
from events.ledger.records import Failure, Subscription
from support.store import Store

HANDLERS = ("library.handlers.feed.add_to_feed", "library.handlers.notifications.notify_followers", "bridge.redis")
EVENTS = ("CardAdded", "library.card-added.v1", "OrderPlacedByWholesaleCustomer")
PLACE = "library.handlers.feed._find_the_library"


def fill(store: Store, suffix: str = "") -> list[UUID]:
    """All deliveries are dead letters but those of the last event, which are discarded; the ids of the events.

    And an event that nobody wants, a worker, a parked message and a discarded one. `suffix`: of whatever others write.
    """
    handlers, kinds = ([name + suffix for name in names] for names in (HANDLERS, EVENTS))
    store.ledger.subscriptions.subscribe(
        [Subscription(event_type=kind, handler=one, queue="q", max_attempts=2) for one in handlers for kind in kinds]
    )
    why = Failure(f"library.NoSuchLibraryError{suffix}", f"there is no library 'Arrakis' in the catalogue{suffix}",
                  f"Traceback{suffix}", PLACE + suffix)  # fmt: skip
    ids = [publish(store, kind, f"order-17{suffix}") for kind in kinds]
    for wakeup in store.take():
        store.ledger.inbox.bury(store.claim(wakeup), why)
    store.ledger.dead.discard(DeadLetterFilter(event_ids=(ids[-1],)), f"ann{suffix}")
    publish(store, f"Unheard{suffix}", "a-1")
    store.ledger.workers.announce(Store.worker(f"worker-1@a-machine{suffix}", {handlers[0]: {kinds[0]: "x"}}))
    for place in ("one", "two"):
        park(store, place + suffix)
    store.ledger.parked.discard(ParkedFilter(ids=(park(store, f"gone{suffix}"),)))
    return ids


def publish(store: Store, kind: str, aggregate: str) -> UUID:
    data = json.dumps({"title": aggregate})
    one = Envelope(uuid4(), aggregate, kind, data, 1, datetime.now(UTC), 1, "{}")
    with store.ledger.events.begin() as connection:
        store.ledger.events.append(connection, [one])
    return one.id


def park(store: Store, text: str) -> UUID:
    """A message that came by a bridge."""
    properties = {"bridge": "redis", "headers": {"ce-id": text}}
    reason, detail = f"unknown event {text}", f"no event named {text}"
    one = Parked(uuid4(), f"bridge.{text}", reason, detail, text.encode(), properties)
    store.ledger.parked.park(one)
    return one.id
