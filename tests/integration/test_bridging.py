"""Bridges in a real worker: out, paused, failing, and in; and what the command says."""

import json
import signal
import socket
from collections.abc import Collection, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from sqlalchemy import func, select, update

import shop
from events import bridges, publish
from events.bridges.cloudevents import outgoing
from events.bridges.contract import AT_ONCE
from events.ledger.identity import received_id
from events.store.tables import event_deliveries
from support.forwarder import Forwarder
from support.operator import Operator
from support.servers import server_url
from support.store import Store
from support.system import System
from support.waiting import eventually


class Others:
    """What other services see on the server, and send to it."""

    def __init__(self) -> None:
        self.prefix = f"test-{uuid4().hex[:8]}"
        self.line = Forwarder(server_url("REDIS"))
        server = self.line.url.partition("://")[2]
        self.url = f"redis+streams://{server}?name=redis&direction=both&accept=*&prefix={self.prefix}"
        self._client = redis.Redis.from_url(server_url("REDIS"), decode_responses=True)

    def got(self, *ids: UUID, name: str = "OrderPlaced") -> list[str]:
        """Which of these events arrived, each as often as it did; without ids, all that did."""
        found = [json.loads(fields["data"])["eventId"] for _, fields in self._client.xrange(f"{self.prefix}:{name}")]
        return [one for one in found if not ids or one in map(str, ids)]

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


@pytest.fixture(scope="module")
def others() -> Iterator[Others]:
    others = Others()
    try:
        yield others
    finally:
        others.close()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, others: Others) -> Iterator[System]:
    """With a worker that has a bridge in both directions."""
    folder = tmp_path_factory.mktemp("bridged")
    settings = {"bridges": others.url, "forward": "OrderPlaced", "poll_interval": "200ms"}
    with System("postgres", folder, **settings).in_use() as system:
        system.start_worker()
        yield system


def placed(count: int) -> list[shop.OrderPlaced]:
    return [shop.OrderPlaced(order=f"o-{number}") for number in range(count)]


def ids_of(events: Collection[shop.OrderPlaced]) -> list[UUID]:
    return [event.event_id for event in events]


def test_a_bridge_can_be_paused_like_any_handler(system: System, others: Others) -> None:
    # Given a bridge that forwards, and that an operator pauses
    first = placed(1)
    publish(first)
    eventually(lambda: others.got(*ids_of(first)), "the first was forwarded")
    system.pipeline.upkeep.pause("bridge.redis", "ann")
    # When events are published, then they wait for it, while other handlers go on
    ids = ids_of(events := placed(20))
    publish(events)
    eventually(lambda: system.states(*ids) == {"succeeded": 40, "paused": 20}, "the others are done")
    assert others.got(*ids) == []
    # When it is resumed, each is forwarded
    system.pipeline.upkeep.resume("bridge.redis", "ann")
    eventually(lambda: system.states(*ids) == {"succeeded": 60}, "all are done")
    assert sorted(others.got(*ids)) == sorted(map(str, ids))
    # And what isn't named is not
    assert others.got(name="OrderConfirmed") == []


def test_what_others_send_is_handled_here_and_not_sent_back(system: System, others: Others) -> None:
    # When another service sends an event, twice
    theirs = shop.OrderPlaced(order="theirs")
    others.sends(system, theirs)
    others.sends(system, theirs)
    # Then it is handled once, as our own events are, and goes back to nobody
    here = received_id("/others", str(theirs.event_id))
    assert system.settled(3, here) == {"succeeded": 3}
    assert system.effects(here) == {(str(here), "book_order"): 1}
    assert len(others.got(theirs.event_id)) == 2


def test_a_server_that_is_away_is_waited_for(system: System, others: Others) -> None:
    # Given a bridge that leads nowhere
    others.line.cut()
    (event,) = placed(1)
    publish(event)

    def forward() -> Any:
        return next((one for one in system.deliveries(event.event_id) if one.handler == "bridge.redis"), None)

    # When forwarding fails, it is a retry like any other
    eventually(lambda: (one := forward()) and one.error, "it failed")
    assert (forward().state, forward().error_type) == ("pending", "events.errors.TransportError")
    # Then it is forwarded when the server is back
    others.line.heal()
    assert eventually(lambda: hurry(system) or others.got(event.event_id), "it was forwarded")


def test_after_an_outage_a_backlog_goes_in_batches(system: System, others: Others) -> None:
    # Given a backlog that a server which is away has not taken
    others.line.cut()
    ids = ids_of(events := placed(600))
    publish(events)
    theirs = (event_deliveries.c.handler == "bridge.redis", event_deliveries.c.event_id.in_(ids))

    def forwards(*more: Any) -> int:
        with system.pipeline.ledger.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(event_deliveries).where(*theirs, *more)) or 0

    eventually(lambda: forwards(event_deliveries.c.error_type.is_not(None)) == len(ids), "all have failed")
    # Then the batches that were on their way when it went are taken apart, one in each process, and no others
    assert forwards(event_deliveries.c.alone) <= 2 * AT_ONCE
    # And all of it arrives when the server is back
    others.line.heal()
    eventually(lambda: hurry(system) or set(others.got(*ids)) == set(map(str, ids)), "all were forwarded")


def hurry(system: System) -> None:
    """What failed is tried again now: the delays are long."""
    with system.pipeline.ledger.events.begin() as connection:
        failed = (event_deliveries.c.handler == "bridge.redis", event_deliveries.c.state == "pending")
        connection.execute(update(event_deliveries).where(*failed).values(due_at=event_deliveries.c.created_at))


def test_the_command_says_what_is_wrong_in_one_line(store: Store) -> None:
    operator = Operator(store.url, EVENTS_HANDLERS="shop", EVENTS_BRIDGES="redis+streams://u:secret@h?name=live")
    assert "there is no bridge for pigeon://" in operator.is_refused(1, "bridge", "pigeon://h")
    complaint = operator.is_refused(1, "bridge", "other")
    assert "no bridge named 'other', only live" in complaint
    assert "secret" not in complaint


def test_a_second_ctrl_c_ends_it_at_once(store: Store) -> None:
    # Given `events bridge` on a server that takes connections, and never says a word
    store.subscribe()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        operator = Operator(store.url, EVENTS_BROKER_TIMEOUT="900s")
        with operator.begins("bridge", f"redis+streams://{host}:{port}") as process:
            try:
                with silent.accept()[0]:
                    # When it is told to end, then it waits for the server; told again, it ends
                    eventually(lambda: process.send_signal(signal.SIGINT) or process.poll() is not None, "it has ended")
            finally:
                process.kill()
    assert process.returncode == -signal.SIGINT
