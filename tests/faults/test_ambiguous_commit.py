"""Connections that are lost during COMMIT: before the server saw it, or after it had committed."""

from collections.abc import Iterator

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

import shop
from events import publish
from events.current_pipeline import use_pipeline
from events.settings.settings import Settings
from events.store.tables import event_deliveries, event_store
from events.testing import InlinePipeline
from support.commit_cutter import CommitCutter
from support.servers import PostgresDatabase
from support.waiting import eventually


@pytest.fixture
def database() -> Iterator[PostgresDatabase]:
    database = PostgresDatabase()
    yield database
    database.drop()


def pipeline_at(url: str) -> InlinePipeline:
    # Without LISTEN no statement is prepared, so that the cutter can read them all.
    return InlinePipeline(Settings(database_url=url, broker_url="", lease="1s", stale_after="1s", listen=False))


@pytest.fixture
def sound(database: PostgresDatabase) -> Iterator[InlinePipeline]:
    """A migrated pipeline on an undisturbed connection."""
    pipeline = pipeline_at(database.url)
    pipeline.migrate()
    yield pipeline
    pipeline.close()


@pytest.fixture
def cutter(database: PostgresDatabase, sound: InlinePipeline) -> Iterator[CommitCutter]:
    cutter = CommitCutter(database.url, share=0.25, seed=5, marks=(b"COMMIT\0", b"INSERT INTO event_store"))
    yield cutter
    cutter.close()


@pytest.fixture
def disturbed(cutter: CommitCutter) -> Iterator[InlinePipeline]:
    """This process's pipeline, through the cutter."""
    pipeline = pipeline_at(cutter.url)
    use_pipeline(pipeline)
    yield pipeline
    use_pipeline(None)
    pipeline.close()


def test_publishing_on_its_own_is_durable_on_return_and_happens_once(
    sound: InlinePipeline, disturbed: InlinePipeline, cutter: CommitCutter
) -> None:
    # Given a connection of which every fourth commit is cut, and each statement that is one of its own
    # When 100 events are published, one by one
    events = [shop.OrderPlaced(order=str(number)) for number in range(100)]
    for event in events:
        publish(event)
    # Then no call has failed, and each event is there once
    with sound.ledger.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(event_store)) == 100
    assert min(cutter.cuts.values()) > 5


def test_effects_happen_once_and_outcomes_are_right_when_commits_are_cut(
    sound: InlinePipeline,
    disturbed: InlinePipeline,
    cutter: CommitCutter,
    tmp_path: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given 25 events
    monkeypatch.setenv("SHOP_STARTS", f"{tmp_path}/starts")
    with sound.ledger.events.begin() as connection:
        publish([shop.OrderPlaced(order=str(number)) for number in range(25)], session=connection)

    cutter.marks = (b"COMMIT\0",)  # and not the BEGIN of a READ COMMITTED transaction

    # When they are handled through a connection of which every fourth commit is cut
    def settled() -> bool:
        try:
            disturbed.run()
        except DBAPIError:  # the relay's own round; a real one goes on, too
            return False
        with sound.ledger.engine.connect() as connection:
            states = connection.scalars(select(event_deliveries.c.state)).all()
        return len(states) >= 50 and set(states) <= {"succeeded", "dead"}

    eventually(settled, "all deliveries have an outcome", 100)
    # Then all have succeeded, and every effect is there once
    with sound.ledger.engine.connect() as connection:
        states = connection.scalars(select(event_deliveries.c.state)).all()
        effects = connection.execute(select(shop.effects.c.event_id, shop.effects.c.handler)).all()
    assert set(states) == {"succeeded"}, [
        (letter.handler, letter.attempts, letter.error_type, letter.error) for letter in sound.dead_letters.find()
    ]
    assert len(effects) == len(set(effects))
    assert len([one for one in effects if one.handler == "book_order"]) == 25
    assert min(cutter.cuts.values()) > 3
