"""Applications' hooks on sessions: in a handler they wait for the delivery's own commit, and are called once."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Column, Integer, String, event
from sqlalchemy.orm import DeclarativeBase, Session

from events import AggregateRoot, DomainEvent, Retry, get_engine, handles, publish
from events.ledger.outcome import Outcome
from events.testing import InlinePipeline
from support.grouped import HANDLER_OF, Item, counted, in_use, row, run_the_rest, run_together, three

SUCCEEDED, RETRY, DEAD, BACK = Outcome.SUCCEEDED, Outcome.RETRY, Outcome.DEAD, Outcome.HANDED_BACK
heard: list[str] = []


class Base(DeclarativeBase):
    pass


class Renamed(DomainEvent):
    name: str


class Person(Base, AggregateRoot):
    __tablename__ = "people"
    id = Column(Integer, primary_key=True)
    name = Column(String(50))


class Hooked(Item):
    pass


class HookedBatch(Item):
    pass


@handles(Hooked, retry=Retry(max_attempts=1))
def with_hooks(event: Hooked, session: Session) -> None:
    _work(event, session)


@handles(HookedBatch, batch=10, retry=Retry(max_attempts=1))
def many_with_hooks(events: list[HookedBatch], session: Session) -> None:
    for one in events:
        _work(one, session)


HANDLER_OF[Hooked] = "with_hooks"
HANDLER_OF[HookedBatch] = "many_with_hooks"


def _work(event: Item, session: Session) -> None:
    person = Person(name=event.place)
    session.add(person)
    if event.do == "commit twice":  # and so what was loaded is expired, as after any commit
        session.commit()
        session.add(Person(name="second"))
        session.commit()
        return
    session.info.setdefault("people", []).append(person)
    match event.do:
        case "commit and fail":
            session.commit()
            raise ValueError(event.place)
        case "savepoint":
            with session.begin_nested():
                session.add(Person(name="nested"))
        case "fail":
            raise ValueError(event.place)


@pytest.fixture
def pipeline(tmp_path: Any) -> Iterator[InlinePipeline]:
    def committed(session: Session) -> None:
        if people := session.info.pop("people", []):
            rows = session.info["count"]()
            heard.append(f"{'+'.join(person.name for person in people)} committed, {rows} rows")

    def ended(session: Session, transaction: Any) -> None:
        if transaction.parent is None and "people" in session.info:
            heard.append(f"{'+'.join(person.name for person in session.info.pop('people'))} gone")

    def began(session: Session, *_: Any) -> None:
        session.info.setdefault("count", _rows)

    heard.clear()
    with in_use(f"sqlite:///{tmp_path / 'events.db'}") as pipeline:
        Base.metadata.create_all(get_engine())
        listeners = [("after_commit", committed), ("after_transaction_end", ended), ("after_begin", began)]
        for name, listener in listeners:
            event.listen(Session, name, listener)
        try:
            yield pipeline
        finally:
            for name, listener in listeners:
                event.remove(Session, name, listener)


def _rows() -> int:
    """How many people there are for everybody."""
    with get_engine().connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM people").scalar_one())


@pytest.mark.parametrize(("do", "rows"), [("", 1), ("savepoint", 2)])
def test_a_hook_is_called_once_and_after_the_commit(pipeline: InlinePipeline, do: str, rows: int) -> None:
    # When a delivery with a hook is run alone
    publish(Hooked(place="a", do=do))
    pipeline.run()
    # Then its hook was called once, saw what the handler had loaded, and that it was there for everybody
    assert heard == [f"a committed, {rows} rows"]


def test_a_session_that_commits_itself_calls_hooks_once_too(pipeline: InlinePipeline) -> None:
    # Given a hook on the session that the handler gets
    calls: list[int] = []

    def count(_: Session) -> None:
        calls.append(_rows())

    event.listen(Session, "after_commit", count)
    try:
        publish(event_ := Hooked(place="a", do="commit twice"))
        pipeline.run()
    finally:
        event.remove(Session, "after_commit", count)
    assert (calls, row(event_).state) == ([2], "succeeded")


@pytest.mark.parametrize("do", ["fail", "commit and fail"])
@pytest.mark.parametrize("kind", [Hooked, HookedBatch])
def test_no_hook_hears_of_a_commit_that_never_came(pipeline: InlinePipeline, kind: type[Item], do: str) -> None:
    # Given three in company, of which one fails, perhaps after it committed its session
    events = three(kind, do)
    run_together(pipeline, *events)
    run_the_rest(pipeline)
    # Then hooks heard of the others' commits, each once, and of the end of that one
    assert [row(one).state for one in events] == ["succeeded", "dead", "succeeded"]
    committed = [one for one in heard if "committed" in one]
    assert sorted(one[0] for one in committed) == ["a", "c"]
    assert not any("b" in one for one in committed)
    assert counted(events[1]) == 1


def test_in_a_group_hooks_are_called_when_all_is_committed(pipeline: InlinePipeline) -> None:
    run_together(pipeline, *three(Hooked, ""))
    assert heard == [f"{place} committed, 3 rows" for place in "abc"]


def test_a_hook_that_fails_changes_nothing(pipeline: InlinePipeline) -> None:
    def fail(_: Session) -> None:
        raise RuntimeError("a hook")

    event.listen(Session, "after_commit", fail)
    try:
        events = three(Hooked, "")
        assert run_together(pipeline, *events) == [SUCCEEDED] * 3
    finally:
        event.remove(Session, "after_commit", fail)
    assert [row(one).state for one in events] == ["succeeded"] * 3


def test_a_session_used_after_its_delivery_says_so(pipeline: InlinePipeline) -> None:
    # Given a hook that tries to use the session when all is over
    errors: list[str] = []

    def use(session: Session) -> None:
        try:
            session.get(Person, 1)
        except Exception as error:
            errors.append(str(error))

    event.listen(Session, "after_commit", use)
    try:
        publish(Hooked(place="a"))
        pipeline.run()
    finally:
        event.remove(Session, "after_commit", use)
    assert len(errors) == 1
    assert "has ended" in errors[0]


def test_a_hook_that_a_handler_adds_to_its_own_session_waits_too(events_pipeline: InlinePipeline) -> None:
    Base.metadata.create_all(get_engine())
    told: list[str] = []

    @handles(HookedByItself, name="hooks_itself")
    def hooks_itself(one: HookedByItself, session: Session) -> None:
        event.listen(session, "after_commit", lambda _: told.append(str(row(one).state)))
        session.add(Person(name=one.place))

    publish(HookedByItself(place="a"))
    events_pipeline.run()
    assert told == ["succeeded"]


class HookedByItself(Item):
    pass
