"""Databases of a test's own, on each kind of server, empty or with a ledger: to copy one is quicker than to migrate."""

import atexit
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from events.settings.settings import Settings
from events.store import migrate, open_ledger
from events.testing import migrated_file
from support.servers import PostgresDatabase


@cache
def migrated_postgres() -> str:
    """The name of a database to be copied: a ledger in which nothing is."""
    database = PostgresDatabase()
    atexit.register(database.drop)
    ledger = open_ledger(Settings(database_url=database.url, broker_url=""))
    migrate(ledger.engine)
    ledger.close()
    return database.name


def migrated_sqlite(folder: Path) -> str:
    """The URL of such a ledger in this folder."""
    file = folder / "events.db"
    file.write_bytes(migrated_file())
    return f"sqlite:///{file}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database of this test's own: with a ledger, unless the test asks for an empty one."""
    names = set(request.fixturenames)
    empty = "empty" in names and "store" not in names
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'events.db'}" if empty else migrated_sqlite(tmp_path)
        return
    database = PostgresDatabase() if empty else PostgresDatabase(migrated_postgres())
    try:
        yield database.url
    finally:
        database.drop()
