"""What goes over a bridge arrives: once, in order, with its attributes."""

import json
from dataclasses import replace
from uuid import uuid4

import pytest

import shop
from events.bridges.cloudevents import outgoing
from events.bridges.contract import AT_ONCE, Features, Publisher
from events.bridges.receiving import Receiver
from events.event import Metadata
from events.ledger.codec import decode
from support.bridged import Link, Service, placed, received, send
from support.waiting import eventually

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("form", ["flat", "structured"])
def test_what_is_sent_is_stored_there_as_it_was(
    publisher: Publisher, listening: Receiver, theirs: Service, features: Features, form: str
) -> None:
    # Given an event with everything that an event has
    metadata = Metadata(correlation_id="request-7", traceparent=TRACE)
    event = shop.OrderPlaced(order='ö "7" 100%', amount=3, metadata=metadata)
    # When it is sent, and received
    send(publisher, [event], form=form)
    received(listening, theirs, 1)
    # Then it is the same event
    row = theirs.rows()[event.event_id]
    assert (row.event_type, row.aggregate_id, row.timestamp) == ("OrderPlaced", 'ö "7" 100%', event.occurred_at)
    assert json.loads(row.event_data) == {"order": 'ö "7" 100%', "amount": 3}
    # And it tells which way it came, and of which request and trace it is
    kept = json.loads(row.metadata)
    assert kept["bridge"] == "link"
    if features.headers or form == "structured":
        assert (kept["source"], kept["correlation_id"], kept["traceparent"]) == ("/test", "request-7", TRACE)


def test_a_repeat_changes_nothing(publisher: Publisher, listening: Receiver, theirs: Service) -> None:
    # Given events that are sent twice, by a sender who didn't hear that the first time worked
    events = placed(3)
    send(publisher, events)
    send(publisher, events)
    # When they are received, and something after them
    last = shop.OrderPlaced(order="last")
    send(publisher, [last])
    received(listening, theirs, 4)
    # Then each is there once
    assert sorted(theirs.stored()) == sorted(one.event_id for one in [*events, last])


def test_an_event_is_its_source_and_its_id(publisher: Publisher, listening: Receiver, theirs: Service) -> None:
    # Given two senders who have the same UUID for different events, one of whom says his twice, and then something else
    event = shop.OrderPlaced(order="o", amount=1)
    other, third = (event.model_copy(update={"amount": amount}) for amount in (2, 3))
    said = [(event, "/a"), (other, "/b"), (event, "/a"), (third, "/a"), (shop.OrderPlaced(order="last"), "/a")]
    for one, source in said:
        message = outgoing(one, source, form="structured")
        publisher.send([replace(message, event_id=str(uuid4()))])  # servers may have repeats of their own
    # When all that is received
    parked = theirs.pipeline.parked.counts

    def done() -> bool:
        listening.step(0.05)
        return theirs.count() == 3 and bool(parked())

    eventually(done, "they are stored, but one")
    # Then there is an event of each, and what is something else under a known id is parked
    assert parked() == {"bridge: id taken": 1}
    amounts = [row.amount for row in (decode(one) for one in theirs.called(event.event_id))]
    assert sorted(amounts) == [1, 2]
    # And stays so when it is replayed; and an event of ours may have that id, too
    assert theirs.pipeline.parked.replay() == 0
    theirs.pipeline.publisher.publish(third)
    assert (theirs.count(), parked()) == (4, {"bridge: id taken": 1})


def test_events_of_one_aggregate_keep_their_order(
    publisher: Publisher, listening: Receiver, theirs: Service, features: Features
) -> None:
    # Given more of them than fit into one batch
    events = placed(3 * AT_ONCE)
    for start in range(0, len(events), 50):
        send(publisher, events[start : start + 50])
    # When they are received
    received(listening, theirs, len(events))
    # Then they are stored in the order in which they were sent, if the bridge says so
    if features.ordered:
        assert theirs.stored() == [event.event_id for event in events]
    else:
        assert set(theirs.stored()) == {event.event_id for event in events}


def test_a_large_event_arrives_whole(publisher: Publisher, listening: Receiver, theirs: Service) -> None:
    event = shop.AlwaysFails(text="ä" * 100_000)
    send(publisher, [event])
    received(listening, theirs, 1)
    assert json.loads(theirs.rows()[event.event_id].event_data) == {"text": event.text}


def test_what_is_not_acknowledged_comes_again(
    link: Link, publisher: Publisher, theirs: Service, features: Features
) -> None:
    if not features.acknowledged or features.direct:
        pytest.skip("it promises nothing, or its sender is still waiting")
    # Given a consumer that took events, and died before it had written them
    _, bridge = link.opened("&group=theirs")
    doomed = bridge.subscriber(lambda: ["OrderPlaced"])
    doomed.receive(0.1)
    events = placed(5)
    send(publisher, events)
    taken = doomed.receive(5)
    assert {one.event_type or "OrderPlaced" for one in taken} == {"OrderPlaced"}
    doomed.close()
    # When another one of its group receives
    receiver = theirs.receiver(link)
    received(receiver, theirs, len(events))
    # Then they are there, once
    assert sorted(theirs.stored()) == sorted(event.event_id for event in events)
    receiver.stop()
    receiver.run()


def test_what_nobody_has_read_waits(link: Link, publisher: Publisher, theirs: Service, features: Features) -> None:
    if not (features.durable and features.retained):
        pytest.skip("it promises nothing")
    # Given events that were sent before anybody subscribed
    events = placed(5)
    send(publisher, events)
    # When a service subscribes for the first time
    receiver = theirs.receiver(link)
    # Then it gets them
    received(receiver, theirs, len(events))
    receiver.stop()
    receiver.run()
