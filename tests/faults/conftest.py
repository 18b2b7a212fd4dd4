"""Fixtures of the fault tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from events import get_engine
from events.current_pipeline import use_pipeline
from events.settings.settings import Settings
from events.testing import InlinePipeline
from rigs.chaos.machines import Machine
from support import fragile
from support.outages import Database, Postgres, Sqlite, impatient
from support.servers import own_server


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A broker of this test's own, that it may restart and wipe."""
    with own_server(request.param) as machine:
        yield machine


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[Machine]:
    with own_server("postgres") as machine:
        yield machine


@pytest.fixture(params=["sqlite", "postgres"])
def fickle(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    found: Sqlite | Postgres = (
        Sqlite(tmp_path / "events.db")
        if request.param == "sqlite"
        else Postgres(request.getfixturevalue("postgres_server"))
    )
    with impatient():
        yield found
        found.close()


@pytest.fixture
def on_fickle(fickle: Database) -> Iterator[InlinePipeline]:
    pipeline = InlinePipeline(Settings(database_url=fickle.url, broker_url="", lease="5s", stale_after="1s"))
    pipeline.migrate()
    use_pipeline(pipeline)
    fragile.tables.create_all(get_engine())
    if isinstance(fickle, Sqlite):
        for engine in (pipeline.ledger.engine, pipeline.ledger.background):
            fickle.watch(engine)
    fragile.do.clear()
    fragile.runs.clear()
    yield pipeline
    use_pipeline(None)
    pipeline.close()
