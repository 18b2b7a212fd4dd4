"""One suite for every store: SQLite and PostgreSQL."""

from collections.abc import Iterator

import pytest

from events.current_pipeline import use_pipeline
from events.pipeline import Pipeline
from events.settings.settings import Settings
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


@pytest.fixture
def pipeline(store: Store) -> Iterator[Pipeline]:
    """What an application that has this ledger publishes by."""
    pipeline = Pipeline(Settings(database_url=store.url, broker_url=""))
    use_pipeline(pipeline)
    yield pipeline
    use_pipeline(None)
    pipeline.close()
