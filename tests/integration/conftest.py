"""What several tests of the command line begin with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from events.store import migrate
from support.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A migrated ledger in a file."""
    store = Store(f"sqlite:///{tmp_path / 'events.db'}")
    migrate(store.ledger.engine)
    yield store
    store.ledger.close()
