"""A database of a test's own, on each kind of server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.servers import PostgresDatabase


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database of this test's own, empty."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'events.db'}"
        return
    database = PostgresDatabase()
    try:
        yield database.url
    finally:
        database.drop()
