"""Where the document says that an event goes is where readers of the server find it, whatever the event is called."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from events.bridges.contract import Features, Message, Publisher, Received
from events.contract.routes import Place, Route
from events.errors import Unsendable
from support.bridged import Link
from support.hostile_types import HOSTILE_TYPES
from support.waiting import eventually


def message(event_type: str) -> Message:
    event_id = str(uuid4())
    attributes = {"specversion": "1.0", "id": event_id, "source": "/test", "type": event_type}
    return Message(event_id, event_type, "", json.dumps({"is": event_type}).encode(), attributes=attributes)


def found_at(place: Place, received: Received) -> tuple[str, ...]:
    """The same of both: what the message was found at, and what the document says of it."""
    if exchange := place.bindings.get("amqp", {}).get("exchange"):  # whose messages have a routing key, too
        assert received.address == exchange["name"]
        return place.address or "", received.event_type
    return place.address or "", received.address


def test_an_event_is_found_where_the_document_says(
    link: Link, publisher: Publisher, features: Features, make_addresses: Callable[..., None]
) -> None:
    # Given what the document says of events with names that mean something to servers
    address, bridge = link.opened("&group=theirs")
    route = Route(address, bridge)
    places = {event_type: route.place(event_type) for event_type in HOSTILE_TYPES}
    shown = {event_type: place for event_type, place in places.items() if place.address is not None}
    make_addresses(*(place.address for place in shown.values()))
    # And somebody who reads all of them
    subscriber = bridge.subscriber(lambda: HOSTILE_TYPES)
    subscriber.receive(0.1)
    found: dict[str, Received] = {}

    def arrived() -> bool:
        if sending.done():
            sending.result()
        received = subscriber.receive(0.1)
        found.update({json.loads(one.body)["is"]: one for one in received})
        if received:
            subscriber.acknowledge(received)
        return len(found) == len(shown)

    # When they are sent
    with ThreadPoolExecutor() as senders:  # of which some wait until they are acknowledged
        sending = senders.submit(publisher.send, [message(event_type) for event_type in shown])
        eventually(arrived, "all have arrived")
        sending.result(10)
    subscriber.close()
    # Then each is found there
    for event_type, place in shown.items():
        said, was = found_at(place, found[event_type])
        assert said == was, event_type
    # And what has no address in the document can't be sent
    for event_type in places.keys() - shown.keys():
        with pytest.raises(Unsendable) as refused:
            publisher.send([message(event_type)])
        assert str(refused.value) == places[event_type].refusal
