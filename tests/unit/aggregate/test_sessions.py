"""Aggregates: an event belongs to the transaction or savepoint that saves its aggregate, wherever that goes."""

import pickle
from collections.abc import Callable

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, InvalidRequestError
from sqlalchemy.orm import Session, make_transient

from events import get_engine
from events.testing import InlinePipeline
from support.shelves import Base, Book, Shelf, ToldOfShelf, new_shelf, saved_shelf, stored


@pytest.fixture(autouse=True)
def _pipeline(events_pipeline: InlinePipeline) -> None:
    Base.metadata.create_all(get_engine())


def test_a_merged_change_takes_its_events_along_until_it_is_committed() -> None:
    # Given a change of a detached aggregate
    shelf = saved_shelf()
    shelf.rename("new")
    # When it is merged, rolled back, and merged again, which a loop of retries does
    for end in (Session.rollback, Session.commit, Session.commit):
        with Session(get_engine()) as session:
            session.merge(shelf)
            session.merge(shelf)
            end(session)
    # Then its event is published once, and done with
    assert stored() == ["new"]
    assert shelf.recorded_events == ()


def test_a_merge_takes_along_what_it_cascades_to() -> None:
    shelf = Shelf(id=1, name="new", books=[Book(id=1)])
    shelf.books[0].record(ToldOfShelf(words="book"))
    with Session(get_engine()) as session:
        session.merge(shelf)
        session.rollback()
        session.merge(shelf)
        session.commit()
    assert stored() == ["book"]


@pytest.mark.parametrize("leave", [Session.close, Session.reset, Session.expunge_all])
def test_what_has_left_its_session_is_published_by_the_one_that_saves_it(leave: Callable[[Session], None]) -> None:
    saved_shelf()
    # Given a change, and a session that let go of it
    session = Session(get_engine())
    shelf = session.get_one(Shelf, 1)
    shelf.rename("new")
    leave(session)
    # When that session commits something else, nothing is published
    session.add(Shelf(id=2, name="other"))
    session.commit()
    session.close()
    assert stored() == []
    # Then it is with the change
    with Session(get_engine()) as other:
        other.add(shelf)
        other.commit()
        assert shelf.name == "new"
    assert stored() == ["new"]


@pytest.mark.parametrize(("again", "expected"), [(Session.merge, ("new", ["new"])), (Session.add, ("old", []))])
def test_a_change_that_was_flushed_and_not_committed(
    again: Callable[[Session, Shelf], object], expected: tuple[str, list[str]]
) -> None:
    saved_shelf()
    # Given a session that was closed after the flush
    with Session(get_engine()) as session:
        shelf = session.get_one(Shelf, 1)
        shelf.rename("new")
        session.flush()
    # When the object is merged, which writes it as a whole, or added, which writes what has changed since
    with Session(get_engine()) as session:
        again(session, shelf)
        session.commit()
        session.expire_all()
        # Then the event is there if the change is
        assert (session.get_one(Shelf, 1).name, stored()) == expected


def test_a_savepoint_takes_along_what_was_recorded_in_it() -> None:
    saved_shelf()
    with Session(get_engine()) as session:
        shelf = session.get_one(Shelf, 1)
        # Given an event of before, without a changed column
        shelf.record(ToldOfShelf(words="before"))
        with session.begin_nested():
            shelf.rename("kept")
            # When one savepoint is rolled back before a flush, one after it, and those around are released
            for flush in (True, False):
                with session.begin_nested() as savepoint:
                    shelf.rename("undone")
                    with session.begin_nested():
                        shelf.record(ToldOfShelf(words="deep inside"))
                    if flush:
                        session.flush()
                    savepoint.rollback()
        session.commit()
    # Then each event went where its change went
    assert stored() == ["before", "kept"]


def test_a_new_aggregate_that_was_rolled_back_still_has_its_event() -> None:
    shelf = new_shelf("new")
    with Session(get_engine()) as session:
        # When it is saved in a savepoint that rolls back, then beside one that is released, and then for good
        with session.begin_nested() as savepoint:
            session.add(shelf)
            session.flush()
            savepoint.rollback()
        session.commit()
        session.add(shelf)
        with session.begin_nested():
            session.execute(select(Shelf))
        session.rollback()
        assert stored() == []
        session.add(shelf)
        session.commit()
    assert stored() == ["new"]


def test_a_flush_that_failed_gives_back_what_earlier_ones_published() -> None:
    shelf = new_shelf("new")
    # Given a session that was not told to roll back yet
    session = Session(get_engine())
    session.add(shelf)
    session.flush()
    session.add(Shelf(id=2))
    with pytest.raises(IntegrityError):
        session.flush()
    # When another saves the aggregate, then with its event
    with Session(get_engine()) as other:
        other.add(shelf)
        other.commit()
    session.close()
    assert stored() == ["new"]


def test_a_record_that_is_refused_leaves_nothing() -> None:
    # Given a session that begins by hand, between two transactions
    with Session(get_engine(), autobegin=False) as session:
        with session.begin():
            session.add(shelf := Shelf(id=1, name="new"))
        before = stored()
        # When something is recorded there, then that is refused, and a later commit publishes nothing
        with pytest.raises(InvalidRequestError):
            shelf.record(ToldOfShelf(words="lost"))
        with session.begin():
            shelf.name = "other"
    assert stored() == before


def test_a_copy_by_make_transient_or_pickle_has_its_events() -> None:
    shelf = new_shelf("first")
    with Session(get_engine()) as session:
        session.add(shelf)
        session.flush()
    make_transient(shelf)
    with Session(get_engine(), expire_on_commit=False) as session:
        session.add(shelf)
        session.commit()
    shelf.rename("second")
    with Session(get_engine()) as session:
        session.add(pickle.loads(pickle.dumps(shelf)))
        session.commit()
    assert stored() == ["first", "second"]
