"""What several tests begin with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from events.bridges.contract import Publisher, Subscriber
from events.store import migrate
from support.bridged import BothEnds, Link
from support.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A migrated ledger in a file."""
    store = Store(f"sqlite:///{tmp_path / 'events.db'}")
    migrate(store.ledger.engine)
    yield store
    store.ledger.close()


@pytest.fixture
def both_ends() -> Iterator[BothEnds]:
    """Opens a publisher and a subscriber of a link, and closes them."""
    ends: list[Publisher | Subscriber] = []

    def open_them(link: Link) -> tuple[Publisher, Subscriber]:
        bridge = link.opened("&group=g")[1]
        publisher, subscriber = bridge.publisher(), bridge.subscriber(lambda: ["OrderPlaced", "AlwaysFails"])
        ends.extend([publisher, subscriber])
        return publisher, subscriber

    yield open_them
    for end in ends:
        end.close()
