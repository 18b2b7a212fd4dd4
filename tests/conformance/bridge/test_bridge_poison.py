"""Messages that can't become events are parked, and hold up nobody; what was parked can be replayed."""

import json
from contextlib import nullcontext
from uuid import uuid4

import pytest

import shop
from events.bridges.contract import Features, Message, Publisher
from events.bridges.receiving import Receiver
from events.errors import PartlySent
from events.ledger.parked import ParkedFilter
from events.ledger.records import Subscription
from support.bridged import Service, placed, received, send
from support.waiting import eventually


def message(event_type: str, body: bytes, **attributes: str) -> Message:
    return Message(
        attributes.get("id", ""),
        event_type,
        "",
        body,
        attributes={"specversion": "1.0", "source": "/them"} | attributes,
    )


def test_poison_is_parked_and_the_others_go_on(
    publisher: Publisher, listening: Receiver, theirs: Service, features: Features
) -> None:
    # Given good events among messages that are no JSON, of no known event, and of wrong data
    events = placed(3)
    send(publisher, events[:1])
    # (whose sender is told, where he is still there to be told)
    with pytest.raises(PartlySent) if features.direct else nullcontext():
        publisher.send([message("OrderPlaced", b"\xff{")])
    publisher.send([message("OrderPlaced", b'{"eventType": "NobodyKnows"}', type="NobodyKnows", id=str(uuid4()))])
    send(publisher, events[1:2])
    publisher.send([message("OrderPlaced", b'{"amount": "many"}', type="OrderPlaced", id=str(uuid4()))])
    send(publisher, events[2:])
    # When all that is received
    received(listening, theirs, 3)
    # Then the events are there, and the rest is parked with its bytes and the reason
    assert sorted(theirs.stored()) == sorted(event.event_id for event in events)
    reasons = {"bridge: unreadable": 1, "bridge: unknown event": 1, "bridge: wrong data": 1}
    if features.direct:
        del reasons["bridge: unreadable"]
    eventually(lambda: listening.step(0.05) or theirs.pipeline.parked.counts() == reasons, "the rest is parked")
    assert features.direct or b"\xff{" in [one.body for one in theirs.pipeline.ledger.parked.find(ParkedFilter())]
    # And they don't come again
    listening.step(0.05)
    assert theirs.pipeline.parked.counts() == reasons


def test_what_was_parked_is_published_when_the_cause_is_gone(
    publisher: Publisher, listening: Receiver, theirs: Service
) -> None:
    # Given a parked message of an event that nobody knew
    event_id = uuid4()
    name = f"New{event_id.hex[:8]}"
    theirs.pipeline.ledger.subscriptions.subscribe(
        [Subscription(event_type="OrderPlaced", handler="hear", queue="q", max_attempts=2)]
    )
    body = json.dumps({"eventType": name, "eventId": str(event_id), "order": "o-1"}).encode()
    publisher.send([message("OrderPlaced", body, type=name, id=str(event_id))])
    last = shop.OrderPlaced(order="last")
    send(publisher, [last])
    received(listening, theirs, 1)
    reason = "bridge: unknown event"  # it may come after what was sent later, as it is of no aggregate
    eventually(lambda: listening.step(0.05) or theirs.pipeline.parked.counts().get(reason), "it is parked")
    (parked,) = theirs.pipeline.parked.find(reason=reason)
    # When it is replayed all the same, it stays parked
    assert theirs.pipeline.parked.replay([parked.id]) == 0
    # When somebody has subscribed to it, and it is replayed by two clicks
    theirs.pipeline.ledger.subscriptions.subscribe(
        [Subscription(event_type=name, handler="hear_new", queue="q", max_attempts=2, public=True)]
    )
    assert theirs.pipeline.parked.replay([parked.id]) == 1
    assert theirs.pipeline.parked.replay([parked.id]) == 0
    # Then it is an event, once
    assert sorted(theirs.stored()) == sorted([event_id, last.event_id])
    assert json.loads(theirs.rows()[event_id].event_data) == {"order": "o-1"}


def test_a_foreign_id_that_is_no_uuid_is_the_same_each_time(
    publisher: Publisher, listening: Receiver, theirs: Service
) -> None:
    # Given the same message of another program, twice, and the same id of another source
    body = json.dumps({"eventId": "17", "eventType": "OrderPlaced", "order": "o"}).encode()
    for source in ("/a", "/a", "/b"):
        publisher.send([message("OrderPlaced", body, type="OrderPlaced", id="17", source=source)])
    send(publisher, [shop.OrderPlaced(order="last")])
    # When they are received
    received(listening, theirs, 2)
    listening.step(0.05)
    # Then there is one event for each source, as far as the bridge can tell sources apart
    assert len(theirs.stored()) in (2, 3)
