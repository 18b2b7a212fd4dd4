"""One suite for every bridge: see README.md."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from events.bridges.contract import Features, Publisher
from events.bridges.receiving import Receiver
from rigs.chaos.machines import Machine
from support.bridged import AtWork, Link, Service
from support.kafka_mock import Mock
from support.private_servers import free_port
from support.servers import own_server, server_url

SERVERS = {  # scheme to the server that it needs
    "http": "",  # the receiver is the server
    "kafka": "kafka",
    "nats": "nats",
    "nats+jetstream": "nats",
    "rabbitmq+topic": "rabbitmq",
    "redis+pubsub": "redis",
    "redis+streams": "redis",
}
OWN = os.environ.get("EVENTS_TEST_BRIDGE_URL")  # somebody's own bridge, on a server that runs


@pytest.fixture
def kafka() -> Iterator[Mock | None]:
    """librdkafka's own cluster in memory, unless there is a real Kafka. A new one: in its second life a group waits."""
    if "EVENTS_TEST_KAFKA_URL" in os.environ:
        yield None
        return
    with Mock() as mock:
        yield mock


@pytest.fixture(params=[OWN] if OWN else sorted(SERVERS))
def link(request: pytest.FixtureRequest) -> Link:
    """A bridge, with addresses of this test's own."""
    if OWN:
        scheme, _, host = OWN.partition("://")
        return Link(scheme, f"{scheme}://{host}")
    server = SERVERS[request.param]
    if server == "":
        return Link(request.param, f"{request.param}://127.0.0.1:{free_port()}/events")
    if server == "kafka":
        mock: Mock | None = request.getfixturevalue("kafka")
        link = Link(request.param, mock.url if mock else os.environ["EVENTS_TEST_KAFKA_URL"])
        _make_topics(link, mock, f"{link.prefix}.OrderPlaced", f"{link.prefix}.AlwaysFails")
        return link
    return Link(request.param, server_url({"rabbitmq": "AMQP"}.get(server, server.upper())))


@pytest.fixture
def make_addresses(request: pytest.FixtureRequest, link: Link) -> Callable[..., None]:
    """What makes addresses on the server, of a kind whose servers don't make them when they are first named."""
    if SERVERS.get(link.scheme) == "kafka":
        return partial(_make_topics, link, request.getfixturevalue("kafka"))
    return lambda *_: None


def _make_topics(link: Link, mock: Mock | None, *topics: str) -> None:
    """A consumer would look for them only now and then."""
    if mock is not None:
        mock.make(*topics)
        return
    hosts = urlsplit(link.url).netloc.rpartition("@")[2]
    client = AdminClient({"bootstrap.servers": hosts})
    for made in client.create_topics([NewTopic(topic, 4) for topic in topics]).values():
        made.result(10)


@pytest.fixture
def features(link: Link) -> Features:
    return link.opened()[1].features


@pytest.fixture
def server(link: Link, features: Features) -> Iterator[Machine | Mock]:
    """A server of this test's own, that it may restart."""
    if OWN:
        pytest.skip("nobody but its owner can restart the server of EVENTS_TEST_BRIDGE_URL")
    if features.direct:
        pytest.skip("there is no server")
    if SERVERS[link.scheme] == "kafka":
        with Mock() as mock:
            mock.make(f"{link.prefix}.OrderPlaced")
            yield mock
        return
    with own_server(SERVERS[link.scheme]) as machine:
        yield machine


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Service]:
    """The service that receives."""
    with Service(tmp_path, "theirs") as service:
        yield service


@pytest.fixture
def publisher(link: Link) -> Iterator[Publisher]:
    publisher = link.opened()[1].publisher()
    try:
        yield publisher
    finally:
        publisher.close()


@pytest.fixture
def listening(link: Link, theirs: Service, features: Features) -> Iterator[Receiver | AtWork]:
    """A receiver of `theirs`, in this process, that is subscribed: what is sent from now on is meant for it."""
    receiver = theirs.receiver(link)
    receiver.step(0.05)
    if features.direct:
        with AtWork(receiver) as at_work:
            yield at_work
        return
    try:
        yield receiver
    finally:
        receiver.stop()
        receiver.run()  # which closes its subscriber
