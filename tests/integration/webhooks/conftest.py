"""Both sides of an HTTP bridge: ours that posts to a URL, and ours that is posted to."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from events.bridges import open_bridge
from events.bridges.contract import Publisher
from events.settings.settings import Settings
from support.bridged import AtWork, Link, Service
from support.private_servers import free_port


@pytest.fixture
def opened() -> Iterator[Callable[[str], Publisher]]:
    """Opens publishers to URLs, and closes them."""
    publishers = []

    def open_it(url: str) -> Publisher:
        publishers.append(open_bridge(url, Settings(broker_url="", broker_timeout="1s"))[1].publisher())
        return publishers[-1]

    yield open_it
    for publisher in publishers:
        publisher.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path, "ours") as service:
        yield service


@pytest.fixture
def link() -> Link:
    return Link("http", f"http://127.0.0.1:{free_port()}/events")


@pytest.fixture
def at_work(service: Service, link: Link) -> Iterator[None]:
    """It listens at the link."""
    receiver = service.receiver(link)
    receiver.step(0.01)
    with AtWork(receiver):
        yield
