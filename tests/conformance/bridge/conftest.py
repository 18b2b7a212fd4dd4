"""One suite for every bridge: see README.md."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _chaos.machines import Machine

from events.bridging import Features, Publisher
from support.bridged import Link, Service
from support.servers import server_url

SERVERS = {  # scheme to the server that it needs
    "nats": "nats",
    "nats+jetstream": "nats",
    "rabbitmq+topic": "rabbitmq",
    "redis+pubsub": "redis",
    "redis+streams": "redis",
}
OWN = os.environ.get("EVENTS_TEST_BRIDGE_URL")  # somebody's own bridge, on a server that runs


@pytest.fixture(params=[OWN] if OWN else sorted(SERVERS))
def link(request: pytest.FixtureRequest) -> Link:
    """A bridge, with addresses of this test's own."""
    if OWN:
        scheme, _, host = OWN.partition("://")
        return Link(scheme, f"{scheme}://{host}")
    return Link(request.param, server_url({"rabbitmq": "AMQP"}.get(name := SERVERS[request.param], name.upper())))


@pytest.fixture
def features(link: Link) -> Features:
    return link.opened()[1].features


@pytest.fixture
def server(link: Link) -> Iterator[Machine]:
    """A server of this test's own, that it may restart."""
    if OWN:
        pytest.skip("nobody but its owner can restart the server of EVENTS_TEST_BRIDGE_URL")
    folder = Path(tempfile.mkdtemp(prefix="bridge-"))
    folder.chmod(0o755)  # the server runs as another user
    machine = Machine(SERVERS[link.scheme], folder)
    try:
        machine.start()
        yield machine
    finally:
        machine.end()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Service]:
    """The service that receives."""
    service = Service(tmp_path, "theirs")
    try:
        yield service
    finally:
        service.close()


@pytest.fixture
def publisher(link: Link) -> Iterator[Publisher]:
    publisher = link.opened()[1].publisher()
    try:
        yield publisher
    finally:
        publisher.close()


@pytest.fixture
def listening(link: Link, theirs: Service) -> Iterator[Callable[..., object]]:
    """A receiver of `theirs`, in this process, that is subscribed: what is sent from now on is meant for it."""
    receiver = theirs.receiver(link)
    receiver.step(0.05)
    try:
        yield receiver
    finally:
        receiver.stop()
        receiver.run()  # which closes its subscriber
