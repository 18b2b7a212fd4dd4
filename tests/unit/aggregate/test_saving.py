"""Aggregates: their events are published with what saves them, once."""

import gc
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.orm import Session

from events import AggregateRoot, get_engine, publish_recorded
from events.testing import InlinePipeline
from support.shelves import Base, Shelf, ToldOfShelf, saved_shelf, stored


@pytest.fixture(autouse=True)
def _pipeline(events_pipeline: InlinePipeline) -> None:
    Base.metadata.create_all(get_engine())


def test_an_aggregate_publishes_when_it_is_saved() -> None:
    with Session(get_engine()) as session, session.begin():
        shelf = Shelf(name="new")
        shelf.record(ToldOfShelf(words="made"))
        session.add(shelf)
    assert stored() == ["made"]
    assert shelf.recorded_events == ()


def test_an_aggregate_forgotten_by_its_session_after_a_flush_still_published() -> None:
    with Session(get_engine()) as session, session.begin():
        for number in range(3):
            shelf = Shelf(name=str(number))
            shelf.record(ToldOfShelf(words=shelf.name))
            session.add(shelf)
            session.flush()
            del shelf
    assert stored() == ["0", "1", "2"]


def test_an_aggregate_without_a_changed_column_publishes_at_commit() -> None:
    with Session(get_engine()) as session, session.begin():
        session.add(Shelf(id=1, name="old"))
    with Session(get_engine()) as session, session.begin():
        session.get_one(Shelf, 1).record(ToldOfShelf(words="looked at"))
    assert stored() == ["looked at"]


def test_a_rollback_publishes_nothing_and_a_new_aggregate_may_be_saved_again() -> None:
    shelf = Shelf(name="twice")
    shelf.record(ToldOfShelf())
    with Session(get_engine()) as session:
        session.add(shelf)
        session.flush()
        session.rollback()
        assert stored() == []
        session.add(shelf)
        session.commit()
    assert stored() == [""]


def test_changes_that_a_rollback_undid_are_not_published_later() -> None:
    with Session(get_engine()) as session:
        shelf = Shelf(name="old")
        session.add(shelf)
        session.commit()
        shelf.name = "newer"
        shelf.record(ToldOfShelf(words="renamed"))
        session.rollback()
        shelf.name = "newest"
        session.commit()
    assert stored() == []


def test_a_deleted_aggregate_publishes_its_last_event() -> None:
    with Session(get_engine()) as session, session.begin():
        session.add(Shelf(id=1, name="old"))
    with Session(get_engine()) as session, session.begin():
        shelf = session.get_one(Shelf, 1)
        shelf.record(ToldOfShelf(words="gone"))
        session.delete(shelf)
    assert stored() == ["gone"]


def test_the_events_of_an_object_that_nobody_holds_are_kept() -> None:
    saved_shelf()
    with Session(get_engine()) as session:
        session.get_one(Shelf, 1).record(ToldOfShelf(words="looked at"))
        gc.collect()
        session.commit()
    assert stored() == ["looked at"]


@pytest.mark.parametrize("commit", [True, False])
def test_the_events_of_what_is_deleted_go_with_the_delete(commit: bool) -> None:
    saved_shelf()
    with Session(get_engine()) as session:
        shelf = session.get_one(Shelf, 1)
        shelf.record(ToldOfShelf(words="before"))
        session.delete(shelf)
        session.flush()
        shelf.record(ToldOfShelf(words="after"))
        if not commit:
            session.rollback()
            shelf.name = "lives on"
        session.commit()
    assert stored() == (["after", "before"] if commit else [])


@pytest.mark.parametrize("throw_away", [Session.expire, Session.refresh])
def test_who_throws_the_changes_away_throws_the_events_away(throw_away: Callable[[Session, Shelf], None]) -> None:
    saved_shelf()
    with Session(get_engine()) as session:
        shelf = session.get_one(Shelf, 1)
        shelf.rename("new")
        throw_away(session, shelf)
        session.commit()
        assert shelf.name == "old"
    assert stored() == []


def test_what_is_recorded_during_a_flush_is_published() -> None:
    saved_shelf()
    with Session(get_engine()) as session:
        other = session.get_one(Shelf, 1)

        def note_id(_: object, __: object, shelf: Shelf) -> None:
            shelf.record(ToldOfShelf(words=f"shelf {shelf.id}"))
            other.record(ToldOfShelf(words="another came"))

        event.listen(Shelf, "after_insert", note_id)
        try:
            session.add(Shelf(id=2, name="new"))
            session.commit()
        finally:
            event.remove(Shelf, "after_insert", note_id)
    assert stored() == ["another came", "shelf 2"]


def test_an_aggregate_that_is_no_orm_object_is_published_by_its_repository() -> None:
    class Basket(AggregateRoot):
        pass

    basket = Basket()
    basket.record(ToldOfShelf(words="filled"))
    # When the session that publishes is rolled back, then it is still to be published
    with Session(get_engine()) as session:
        publish_recorded(basket, session=session)
        session.rollback()
        publish_recorded(basket, session=session)
        session.commit()
    assert stored() == ["filled"]
    # And a connection will do
    basket.record(ToldOfShelf(words="emptied"))
    connection: Connection
    with get_engine().begin() as connection:
        publish_recorded(basket, session=connection)
    assert stored() == ["emptied", "filled"]
    assert basket.recorded_events == ()
