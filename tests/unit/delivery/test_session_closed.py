"""A handler that closes its Session: what it had not committed is never dropped without a word."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Column, Integer, String, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Session

from events import Retry, get_engine, handles, publish
from events.ledger.outcome import Outcome
from events.testing import InlinePipeline
from support.grouped import HANDLER_OF, Item, Noticed, in_use, noticed, row, run_the_rest, run_together, three

SUCCEEDED, DEAD, HANDED_BACK = Outcome.SUCCEEDED, Outcome.DEAD, Outcome.HANDED_BACK


class Base(DeclarativeBase):
    pass


class Page(Base):
    __tablename__ = "pages"
    id = Column(Integer, primary_key=True)
    name = Column(String(50))


class Closing(Item):
    pass


@handles(Closing, retry=Retry(max_attempts=1))
def closes(event: Closing, session: Session) -> None:
    if event.do:
        PROGRAMS[event.do](session)
    else:
        session.add(Page(name=event.place))


class OwnSession(Session):
    """The application's own class, which a handler may ask for."""


class ClosingOwn(Item):
    pass


@handles(ClosingOwn, retry=Retry(max_attempts=1))
def closes_its_own(event: ClosingOwn, session: OwnSession) -> None:
    closes(event, session)  # type: ignore[arg-type]


HANDLER_OF |= {Closing: "closes", ClosingOwn: "closes_its_own"}
KINDS = [Closing, ClosingOwn]


def _within(change: Callable[[Session], object]) -> Callable[[Session], None]:
    def program(session: Session) -> None:
        with session:
            change(session)

    return program


def _flushed(session: Session) -> None:
    session.add(Page(name="new"))
    session.flush()


def _loaded_and_changed(session: Session) -> None:
    session.scalars(select(Page)).first().name = "changed"  # type: ignore[union-attr, assignment]


def _deleted(session: Session) -> None:
    session.delete(session.scalars(select(Page)).first())


def _in_a_savepoint(session: Session) -> None:
    with session.begin_nested():
        session.add(Page(name="nested"))


def _once_more_after_a_commit(session: Session) -> None:
    session.add(Page(name="first"))
    session.commit()
    session.add(Page(name="second"))


def _and_go_on(session: Session) -> None:
    session.add(Page(name="new"))
    session.close()
    session.add(Page(name="another"))


def _before_a_savepoint_that_is_undone(session: Session) -> None:
    session.add(Page(name="new"))
    _rolled_back_to_a_savepoint(session)


DROPS: dict[str, Callable[[Session], object]] = {
    "add": lambda session: session.add(Page(name="new")),
    "flush": _flushed,
    "change": _loaded_and_changed,
    "delete": _deleted,
    "savepoint": _in_a_savepoint,
    "insert": lambda session: session.execute(insert(Page).values(name="new")),
    "insert returning": lambda session: session.scalars(insert(Page).values(name="new").returning(Page)).one(),
    "update": lambda session: session.execute(update(Page).values(name="new")),
    "delete all": lambda session: session.execute(delete(Page)),
    "text": lambda session: session.execute(text("\n  insert into pages (name) values ('new')")),
    "query": lambda session: session.query(Page).update({"name": "new"}),
    "publish": lambda _: publish(Noticed(of="here")),
    "publish by session": lambda session: publish(Noticed(of="here"), session=session),
    "before a savepoint": _before_a_savepoint_that_is_undone,
    "after a commit": _once_more_after_a_commit,
    "close and go on": _and_go_on,
}


def _committed(session: Session) -> None:
    session.add(Page(name="new"))
    publish(Noticed(of="here"))
    session.commit()


def _rolled_back(session: Session) -> None:
    session.add(Page(name="new"))
    session.flush()
    session.rollback()


def _begun(session: Session) -> None:
    with session.begin():
        session.add(Page(name="new"))


def _unless_it_is_there(session: Session) -> None:
    try:
        with session.begin_nested():
            session.add(Page(id=1, name="there already"))
    except IntegrityError:
        pass


def _rolled_back_to_a_savepoint(session: Session) -> None:
    savepoint = session.begin_nested()
    session.execute(insert(Page).values(name="new"))
    publish(Noticed(of="here"))
    savepoint.rollback()


MEANS_IT: dict[str, Callable[[Session], object]] = {
    "commit": _committed,
    "roll back": _rolled_back,
    "begin": _begun,
    "read": lambda session: session.scalars(select(Page)).all(),
    "read by text": lambda session: session.execute(text("SELECT count(*) FROM pages")).scalar(),
    "unless it is there": _unless_it_is_there,
    "roll back to a savepoint": _rolled_back_to_a_savepoint,
    "nothing": lambda _: None,
}
PROGRAMS = {name: _within(change) for name, change in (DROPS | MEANS_IT).items()}


@pytest.fixture
def pipeline(tmp_path: Any) -> Iterator[InlinePipeline]:
    with in_use(f"sqlite:///{tmp_path / 'events.db'}") as pipeline:
        Base.metadata.create_all(get_engine())
        with Session(get_engine()) as session:
            session.add(Page(id=1, name="there before"))
            session.commit()
        yield pipeline


def _pages() -> int:
    with get_engine().connect() as connection:
        return connection.scalar(select(func.count()).select_from(Page)) or 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", DROPS)
def test_changes_that_a_handler_drops_by_closing_its_session_are_an_error(
    pipeline: InlinePipeline, what: str, kind: type[Item]
) -> None:
    # Given three deliveries of one group, of which one closes its session with changes in it
    events = three(kind, what)
    # When they run
    outcomes = run_together(pipeline, *events)
    # Then that one is run alone, and a dead letter that tells the cure; its neighbours are not affected
    assert outcomes == [SUCCEEDED, HANDED_BACK, SUCCEEDED]
    assert run_the_rest(pipeline) == {events[1].event_id: [DEAD]}
    assert "closed its Session" in row(events[1]).error
    assert "commit() or rollback()" in row(events[1]).error
    assert (_pages(), noticed()) == (3, 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", MEANS_IT)
def test_who_says_what_is_meant_may_close_it(pipeline: InlinePipeline, what: str, kind: type[Item]) -> None:
    outcomes = run_together(pipeline, *three(kind, what))
    assert outcomes == [SUCCEEDED] * 3
    saved = what in ("commit", "begin")
    assert (_pages(), noticed()) == (3 + saved, int(what == "commit"))


def test_the_handler_s_own_error_is_the_one_that_is_told(pipeline: InlinePipeline) -> None:
    def fail(session: Session) -> None:
        session.add(Page(name="new"))
        raise ValueError("its own")

    PROGRAMS["fail"] = _within(fail)
    events = three(Closing, "fail")
    assert run_together(pipeline, *events) == [SUCCEEDED, HANDED_BACK, SUCCEEDED]
    assert run_the_rest(pipeline) == {events[1].event_id: [DEAD]}
    assert row(events[1]).error == "its own"
