"""One suite for every store: SQLite and PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from events.store import migrate
from support.servers import PostgresDatabase
from support.store import Store


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of this test's own, empty."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'events.db'}"
        return
    database = PostgresDatabase()
    try:
        yield database.url
    finally:
        database.drop()


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
