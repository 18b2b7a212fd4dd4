"""Which ledger an application publishes into: one that is not its workers' is warned of, and stops nobody."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from events import publish
from events.current_pipeline import use_pipeline
from events.pipeline import Pipeline
from events.settings.settings import Settings
from events.store import migrate
from support.publishers import DRIVERS, Application, CountedUp
from support.servers import PostgresDatabase
from support.store import Store, together
from support.waiting import eventually


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    return lambda: [record.getMessage() for record in caplog.records if record.name == "events.publishing"]


def test_a_ledger_that_is_not_this_processs_own_is_warned_of_once(
    store: Store, pipeline: Pipeline, tmp_path: Path, warnings: Callable[[], list[str]]
) -> None:
    # Given another database that has a ledger, too
    database = None if store.sqlite else PostgresDatabase()
    other = Store(database.url if database else f"sqlite:///{tmp_path / 'other.db'}")
    threads = 2 if store.sqlite else 8
    try:
        migrate(other.ledger.engine)
        engine = create_engine(other.ledger.engine.url)
        # When its first transaction failed, and then threads publish into it at once
        with engine.connect() as connection:
            with pytest.raises(DBAPIError):
                connection.execute(text("SELECT nonsense"))
            if database:
                with pytest.raises(DBAPIError):
                    publish(CountedUp(number=0), session=connection)

        def publish_one() -> None:
            with engine.begin() as connection:
                publish(CountedUp(number=1), session=connection)

        together(*[publish_one] * threads)
        # Then all is stored, and one warning names both databases and the cure
        eventually(lambda: bool(warnings()), "somebody is warned")
        (warning,) = warnings()
        assert str(make_url(other.url).database) in warning
        assert f"EVENTS_DATABASE_URL is {pipeline.ledger.engine.url.render_as_string()}" in warning
        assert "set EVENTS_DATABASE_URL, here and for the workers" in warning
        assert other.count() == threads
        engine.dispose()
    finally:
        other.ledger.close()
        if database:
            database.drop()


@pytest.mark.parametrize(
    ("url", "driver"),
    [("sqlite" if dialect == "sqlite" else "postgres", driver) for dialect in DRIVERS for driver in DRIVERS[dialect]],
    indirect=["url"],
)
def test_the_same_ledger_by_another_engine_is_no_reason_to_warn(
    store: Store, pipeline: Pipeline, driver: str, warnings: Callable[[], list[str]]
) -> None:
    application = Application(pipeline, driver, ours=False)

    def main() -> None:
        with application.engine.begin() as connection:
            publish(CountedUp(number=1), session=connection)

    application.do(main)
    check: Any = pipeline.ledger.events._check  # type: ignore[attr-defined]
    eventually(lambda: bool(check._compared), "it was compared")
    assert warnings() == []
    application.close()


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("driver", DRIVERS["postgresql"])
def test_a_search_path_that_leads_to_another_ledger_is_warned_of_whenever_it_is_set(
    store: Store, pipeline: Pipeline, driver: str, ours: bool, count: int, warnings: Callable[[], list[str]]
) -> None:
    # Given two tenants' schemas with a ledger each, and an application that has published where it should
    with store.ledger.engine.begin() as connection:
        for tenant in ("tenant_1", "tenant_2"):
            connection.execute(text(f"CREATE SCHEMA {tenant}"))
            connection.execute(text(f"CREATE TABLE {tenant}.event_store (LIKE event_store INCLUDING ALL)"))
    application = Application(pipeline, driver, ours=ours)

    def into(tenant: str) -> None:
        with application.engine.begin() as connection:
            connection.execute(text(f"SET LOCAL search_path = {tenant}, public"))
            publish([CountedUp(number=number) for number in range(count)], session=connection)

    def is_warned() -> bool:
        for tenant in ("tenant_1", "tenant_2"):
            application.do(lambda tenant=tenant: into(tenant))
        return len(warnings()) >= 2

    application.do(lambda: into("public"))
    # When it publishes for its tenants, again and again
    eventually(is_warned, "it is warned of both")
    application.do(lambda: into("public"))
    is_warned()
    # Then it is warned once of each, by name
    assert sorted(one.split("schema ")[1].split()[0] for one in warnings()) == ["tenant_1", "tenant_2"]
    assert all("workers read the one in schema public" in one for one in warnings())
    assert store.count() == 2 * count
    application.close()


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
@pytest.mark.parametrize(("own", "warns"), [("sqlite:///none.db", True), ("postgresql://localhost:1/none", False)])
def test_a_ledger_out_of_reach_hinders_nobody(
    store: Store, own: str, warns: bool, warnings: Callable[[], list[str]]
) -> None:
    # Given a web process whose EVENTS_DATABASE_URL is wrong, or answers to nobody
    pipeline = Pipeline(Settings(database_url=own, broker_url=""))
    use_pipeline(pipeline)
    try:
        # When it publishes in its application's database
        with Session(store.ledger.engine) as session, session.begin():
            publish(CountedUp(number=1), session=session)
        # Then that is stored; only what can't be the same database is warned of
        assert store.count() == 1
        assert len(warnings()) == warns
    finally:
        use_pipeline(None)
        pipeline.close()
