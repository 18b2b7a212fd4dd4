"""One suite for every store: SQLite and PostgreSQL."""

from collections.abc import Iterator

import pytest

from events.store import migrate
from support.databases import url
from support.store import Store

__all__ = ["empty", "store", "url"]


@pytest.fixture
def empty(url: str) -> Iterator[Store]:
    """A ledger without tables."""
    store = Store(url)
    try:
        yield store
    finally:
        store.ledger.close()


@pytest.fixture
def store(empty: Store) -> Store:
    migrate(empty.ledger.engine)
    return empty
