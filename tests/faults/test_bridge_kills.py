"""From one ledger to another over a bridge, while the processes on both sides are killed."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import shop
from events import publish
from support.bridged import Link, Service
from support.kafka_mock import Mock
from support.servers import server_url
from support.size import sized
from support.system import System
from support.waiting import eventually

SERVERS = {"redis+streams": "REDIS", "nats+jetstream": "NATS", "rabbitmq+topic": "AMQP", "kafka": ""}


@pytest.fixture(params=SERVERS)
def link(request: pytest.FixtureRequest) -> Iterator[Link]:
    with ExitStack() as stack:
        mock = None if SERVERS[request.param] else stack.enter_context(Mock())
        link = Link(request.param, mock.url if mock else server_url(SERVERS[request.param]))
        if mock:
            mock.make(f"{link.prefix}.OrderPlaced")
        yield link


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path, "theirs") as service:
        yield service


def test_whatever_dies_every_event_arrives_once(link: Link, theirs: Service, tmp_path: Path) -> None:
    # Given a worker that forwards many events, and a service that receives them
    receiving = theirs.start(link)
    with System("postgres", tmp_path, bridges=link.url, forward="OrderPlaced", poll_interval="200ms").in_use() as ours:
        worker = ours.start_worker()
        events = [shop.OrderPlaced(order=f"o-{number % 50}", amount=number) for number in range(sized(600, 2_000))]
        for start in range(0, len(events), 100):
            publish(events[start : start + 100])
        # When both are killed in the middle of it, one after the other
        eventually(lambda: len(theirs.stored()) > len(events) // 10, "it is under way")
        worker.kill()
        receiving.kill()
        theirs.start(link)
        ours.start_worker()
        # Then every event is there, once, and nothing is left over on either side
        eventually(lambda: len(theirs.stored()) == len(events), "all events arrived")
        assert set(theirs.stored()) == {event.event_id for event in events}
        assert ours.settled(4 * len(events)) == {"succeeded": 4 * len(events)}
        assert theirs.pipeline.parked.counts() == {}
