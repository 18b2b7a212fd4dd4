"""Whatever door a handler comes to its transaction by: a failure undoes what it wrote, and it can't end it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Engine, Integer, String, create_engine, insert
from sqlalchemy.orm import DeclarativeBase, Session, object_session

from events import Retry, get_engine, handles, publish
from events.ledger.outcome import Outcome
from events.testing import InlinePipeline
from support.grouped import (
    HANDLER_OF,
    Item,
    Noticed,
    in_use,
    notes,
    noticed,
    row,
    run_the_rest,
    run_together,
    three,
    written,
)

SUCCEEDED, RETRY, DEAD, BACK = Outcome.SUCCEEDED, Outcome.RETRY, Outcome.DEAD, Outcome.HANDED_BACK


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "things"
    id = Column(Integer, primary_key=True)
    name = Column(String(50))


class Through(Item):
    """`do` is the door."""


def _by_driver(connection: Connection, place: str) -> None:
    driver: Any = connection.connection.driver_connection
    driver.cursor().execute(f"INSERT INTO notes (text) VALUES ('{place}')")


def _by_object(session: Session, place: str) -> None:
    thing = Thing(name=place)
    session.add(thing)
    session.flush()
    own = object_session(thing)
    assert own is not None
    own.connection().execute(insert(notes).values(text=place))


def _by_own_session(connection: Connection, place: str) -> None:
    with Session(connection, join_transaction_mode="create_savepoint") as other:
        other.execute(insert(notes).values(text=place))
        other.commit()


def _bind(session: Session) -> Connection:
    bind = session.get_bind()
    assert isinstance(bind, Connection)
    return bind


DOORS: dict[str, Callable[[Session, str], object]] = {
    "get_bind()": lambda session, place: _bind(session).execute(insert(notes).values(text=place)),
    "bind": lambda session, place: session.bind.execute(insert(notes).values(text=place)),  # type: ignore[union-attr]
    "get_bind().exec_driver_sql": lambda session, place: _bind(session).exec_driver_sql(
        f"INSERT INTO notes (text) VALUES ('{place}')"
    ),
    "the driver": lambda session, place: _by_driver(_bind(session), place),
    "connection()": lambda session, place: session.connection().execute(insert(notes).values(text=place)),
    "object_session()": _by_object,
    "a session on the bind": lambda session, place: _by_own_session(_bind(session), place),
    "a savepoint of the bind": lambda session, place: _in_savepoint(_bind(session), place),
    "commit()": lambda session, place: (session.execute(insert(notes).values(text=place)), session.commit()),
}


def _in_savepoint(connection: Connection, place: str) -> None:
    with connection.begin_nested():
        connection.execute(insert(notes).values(text=place))


@handles(Through, retry=Retry(max_attempts=2))
def through_a_door(event: Through, session: Session) -> None:
    door, _, then = event.do.partition(", then ")
    DOORS[door](session, event.place)
    if then == "fail":
        raise ValueError(f"{event.place} after it wrote")
    if then == "roll back":
        session.rollback()


HANDLER_OF[Through] = "through_a_door"


@pytest.fixture
def pipeline(url: str) -> Iterator[InlinePipeline]:
    with in_use(url) as pipeline:
        Base.metadata.create_all(get_engine())
        yield pipeline


@pytest.mark.parametrize("door", DOORS)
def test_whatever_door_a_handler_writes_through_its_failure_undoes_it(pipeline: InlinePipeline, door: str) -> None:
    # Given a group of which one writes through a door and fails
    events = [Through(place=place, do=door + (", then fail" if place == "b" else "")) for place in "abc"]
    # When it is run
    assert run_together(pipeline, *events) == [SUCCEEDED, BACK, SUCCEEDED]
    # Then nothing of that one is there, and alone it fails the same
    assert written() == ["a", "c"]
    assert run_the_rest(pipeline) == {events[1].event_id: [RETRY, DEAD]}
    assert written() == ["a", "c"]


@pytest.mark.parametrize("door", DOORS)
def test_a_sessions_rollback_undoes_the_same_alone_and_in_a_group(pipeline: InlinePipeline, door: str) -> None:
    # Given a handler that writes, rolls its session back, and goes on
    event = Through(place="alone", do=f"{door}, then roll back")
    publish(event)
    pipeline.run()
    alone = written()
    # When it does so in a group
    run_together(pipeline, *[Through(place=place, do=f"{door}, then roll back") for place in "abc"])
    # Then the same is there
    assert written() == sorted(alone + ["a", "b", "c"] * len(alone))


READ_ONLY = [
    "SET TRANSACTION READ ONLY",
    "SET LOCAL transaction_read_only = on",
    "set transaction_read_only to true",
    "driver.autocommit",
]
ENDS = [
    *("ROLLBACK", "COMMIT", "/* now */ commit", "END", "ABORT", "SELECT 1; COMMIT", "ROLLBACK AND CHAIN"),
    *("COMMIT; CREATE OR REPLACE VIEW v AS SELECT 1", "SELECT 1 AS \"it's\"; COMMIT; SELECT 'x'"),
]


class Routing(Session):
    """Sends what reads to one database and what writes to another, as SQLAlchemy's manual has it."""

    def get_bind(self, *_: Any, **__: Any) -> Any:
        return elsewhere[0]


class Stubborn(Session):
    """Takes no arguments."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__(elsewhere[0] if elsewhere else None)


elsewhere: list[Engine] = []


class Routed(Item):
    pass


class Fixed(Item):
    pass


class Led(Item):
    pass


@handles(Routed, retry=Retry(max_attempts=2))
def is_routed(event: Routed, session: Routing) -> None:
    _write_and_commit(event, session)


@handles(Fixed, retry=Retry(max_attempts=2))
def is_fixed(event: Fixed, session: Stubborn) -> None:
    _write_and_commit(event, session)


@handles(Led, retry=Retry(max_attempts=1))
def is_led_away(event: Led, session: Session) -> None:
    session.execute(insert(notes).values(text=event.place), bind_arguments={"bind": elsewhere[0]})


def _write_and_commit(event: Item, session: Session) -> None:
    session.execute(insert(notes).values(text=event.place))
    publish(Noticed(of=event.place), session=session)
    session.commit()
    if event.do == "fail":
        raise ValueError(event.place)


HANDLER_OF |= {Routed: "is_routed", Fixed: "is_fixed", Led: "is_led_away"}


@pytest.fixture
def other_engine(pipeline: InlinePipeline) -> Iterator[None]:
    """Of the same database."""
    elsewhere.append(create_engine(pipeline.ledger.engine.url))
    yield
    elsewhere.pop().dispose()


@pytest.mark.usefixtures("other_engine")
@pytest.mark.parametrize("kind", [Routed, Fixed])
def test_a_session_of_the_applications_own_class_is_in_the_deliverys_transaction(
    pipeline: InlinePipeline, kind: type[Item]
) -> None:
    # Given handlers whose session would go by itself to another engine; When one of them fails after its commit
    events = three(kind, "fail")
    assert run_together(pipeline, *events) == [SUCCEEDED, BACK, SUCCEEDED]
    assert run_the_rest(pipeline) == {events[1].event_id: [RETRY, DEAD]}
    # Then nothing of it is there
    assert written() == ["a", "c"]
    assert noticed() == 2


@pytest.mark.usefixtures("other_engine")
def test_who_leads_the_session_to_another_engine_is_refused(pipeline: InlinePipeline) -> None:
    event = Led(place="a")
    run_together(pipeline, event)
    run_the_rest(pipeline)
    (letter,) = pipeline.dead_letters.find()
    assert "for another database use a session of your own" in letter.error
    assert written() == []


class Ending(Item):
    pass


@handles(Ending, retry=Retry(max_attempts=3))
def ends(event: Ending, connection: Connection) -> None:
    connection.execute(insert(notes).values(text=event.place))
    driver: Any = connection.connection.driver_connection
    if event.do == "driver.autocommit":
        driver.autocommit = True
    elif event.do == "driver.isolation_level":
        driver.isolation_level = None
    elif event.do.startswith("driver."):
        getattr(driver, event.do.removeprefix("driver."))()
    elif event.do:
        connection.exec_driver_sql(event.do)


HANDLER_OF[Ending] = "ends"


@pytest.mark.parametrize("how", [*ENDS, "driver.commit", "driver.rollback"])
def test_who_would_end_the_transaction_is_refused_whatever_the_door(pipeline: InlinePipeline, how: str) -> None:
    events = three(Ending, how)
    run_together(pipeline, *events)
    run_the_rest(pipeline)
    # Then only that one is dead, without an effect
    assert [row(event).state for event in events] == ["succeeded", "dead", "succeeded"]
    assert written() == ["a", "c"]
    (letter,) = pipeline.dead_letters.find()
    assert "TransactionMisused" in letter.error_type


def test_who_would_commit_by_the_isolation_level_of_sqlites_driver_is_refused(
    pipeline: InlinePipeline, url: str
) -> None:
    if not url.startswith("sqlite"):
        pytest.skip("only this driver commits then")
    events = three(Ending, "driver.isolation_level")
    run_together(pipeline, *events)
    run_the_rest(pipeline)
    assert [row(event).state for event in events] == ["succeeded", "dead", "succeeded"]
    assert written() == ["a", "c"]


@pytest.mark.parametrize("how", READ_ONLY)
def test_who_would_make_the_transaction_read_only_is_refused(pipeline: InlinePipeline, url: str, how: str) -> None:
    if url.startswith("sqlite"):
        pytest.skip("SQLite has none of this")
    events = three(Ending, how)
    run_together(pipeline, *events)
    run_the_rest(pipeline)
    assert [row(event).state for event in events] == ["succeeded", "dead", "succeeded"]
    assert "TransactionMisused" in pipeline.dead_letters.find()[0].error_type
    assert written() == ["a", "c"]
