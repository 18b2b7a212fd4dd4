"""Bridges in real workers: out, paused, as dead letters, and in."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from sqlalchemy import update

import shop
from events import bridges, publish
from events.store.tables import event_deliveries
from events.wire import outgoing
from support.forwarder import Forwarder
from support.servers import server_url
from support.system import System
from support.waiting import eventually


class Others:
    """What other services see on the server, and send to it."""

    def __init__(self) -> None:
        self.prefix = f"test-{uuid4().hex[:8]}"
        self.line = Forwarder(server_url("REDIS"))
        server = self.line.url.partition("://")[2]
        self.url = f"redis+streams://{server}?name=redis&direction=both&prefix={self.prefix}"
        self._client = redis.Redis.from_url(server_url("REDIS"), decode_responses=True)

    def got(self, name: str = "OrderPlaced") -> list[dict[str, object]]:
        return [json.loads(fields["data"]) for _, fields in self._client.xrange(f"{self.prefix}:{name}")]

    def sends(self, system: System, event: shop.OrderPlaced) -> None:
        _, bridge = bridges.open_bridge(self.url, system.pipeline.settings)
        publisher = bridge.publisher()
        publisher.send([outgoing(event, "/others")])
        publisher.close()

    def close(self) -> None:
        self.line.cut()
        for key in self._client.scan_iter(f"{self.prefix}*"):
            self._client.delete(key)
        self._client.close()


@pytest.fixture
def others() -> Iterator[Others]:
    others = Others()
    try:
        yield others
    finally:
        others.close()


@pytest.fixture
def system(tmp_path: Path, others: Others) -> Iterator[System]:
    with System("postgres", tmp_path, bridges=others.url, forward="OrderPlaced", poll_interval="200ms").in_use() as one:
        yield one


def test_a_bridge_is_a_handler_like_any_other(system: System, others: Others) -> None:
    # Given a worker with a bridge, which an operator has paused
    system.start_worker()
    first = shop.OrderPlaced(order="first")
    publish(first)
    eventually(lambda: len(others.got()) == 1, "the first was forwarded")
    system.pipeline.upkeep.pause("bridge.redis", "ann")
    # When events are published, then they wait for it, while other handlers go on
    events = [shop.OrderPlaced(order=f"o-{number}") for number in range(20)]
    ids = [event.event_id for event in events]
    publish(events)
    eventually(lambda: system.states(*ids) == {"succeeded": 40, "paused": 20}, "the others are done")
    assert len(others.got()) == 1
    # When it is resumed, they are forwarded
    system.pipeline.upkeep.resume("bridge.redis", "ann")
    eventually(lambda: len(others.got()) == 21, "all were forwarded")
    assert {one["eventId"] for one in others.got()} == {str(one) for one in [first.event_id, *ids]}
    # And what isn't named is not
    assert others.got("OrderConfirmed") == []


def test_a_server_that_is_away_is_waited_for(system: System, others: Others) -> None:
    # Given a worker whose bridge leads nowhere
    others.line.cut()
    system.start_worker()
    event = shop.OrderPlaced(order="o-1")
    publish(event)
    # When forwarding fails, it is a retry like any other
    eventually(lambda: system.states(event.event_id)["pending"] == 1 and delivery(system, event).error, "it failed")
    assert delivery(system, event).error_type.endswith("TransportError")
    # Then it is forwarded when the server is back
    others.line.heal()
    with system.pipeline.ledger.events.begin() as connection:  # not at the end of its delay
        theirs = event_deliveries.c.handler == "bridge.redis"
        connection.execute(update(event_deliveries).where(theirs).values(due_at=event_deliveries.c.created_at))
    eventually(lambda: len(others.got()) == 1, "it was forwarded")


def delivery(system: System, event: shop.OrderPlaced) -> object:
    (found,) = [one for one in system.deliveries(event.event_id) if one.handler == "bridge.redis"]
    return found


def test_what_others_send_is_handled_here_and_not_sent_back(system: System, others: Others) -> None:
    # Given a worker with a bridge in both directions
    worker = system.start_worker()
    # When another service sends an event, twice
    theirs = shop.OrderPlaced(order="theirs")
    others.sends(system, theirs)
    others.sends(system, theirs)
    # Then it is handled once, as our own events are, and goes back to nobody
    assert system.settled(3, theirs.event_id) == {"succeeded": 3}
    assert system.effects(theirs.event_id) == {(str(theirs.event_id), "book_order"): 1}
    assert len(others.got()) == 2
    # And the worker ends in good order
    assert worker.stop() == 0
