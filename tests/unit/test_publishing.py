"""publish(): in the caller's transaction, alone, many at once, inside a handler, from asyncio, from aggregates."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, event, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from events import (
    AggregateRoot,
    DomainEvent,
    PayloadTooLarge,
    PublishError,
    SchemaError,
    get_engine,
    handles,
    publish,
    publish_async,
    publish_recorded,
)
from events.store.tables import event_store
from events.testing import InlinePipeline


class Said(DomainEvent, aggregate_id="who"):
    who: str = "me"
    words: str = ""


class Answered(DomainEvent):
    words: str = ""


class Base(DeclarativeBase):
    pass


class Shelf(Base, AggregateRoot):
    __tablename__ = "shelves"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


answers: list[Answered] = []


@handles(Said)
def answers_when_asked(event: Said) -> None:
    if event.words == "ask":
        publish(Answered(words="yes"))


@handles(Answered)
def keeps_answers(event: Answered) -> None:
    answers.append(event)


@pytest.fixture(autouse=True)
def _pipeline(events_pipeline: InlinePipeline) -> None:
    Base.metadata.create_all(get_engine())
    answers.clear()
    return


def stored() -> list[str]:
    with get_engine().connect() as connection:
        return [row.event_type for row in connection.execute(select(event_store).order_by(event_store.c.id))]


def test_alone_it_is_durable_when_it_returns() -> None:
    publish(Said())
    assert stored() == ["Said"]


def test_a_session_that_commits_keeps_it_and_one_that_rolls_back_does_not() -> None:
    with Session(get_engine()) as session:
        publish(Said(), session=session)
        session.rollback()
        assert stored() == []
        publish(Said(), session=session)
        session.commit()
    assert stored() == ["Said"]


def test_a_connection_and_a_scoped_session_do_as_well() -> None:
    with get_engine().begin() as connection:
        publish(Said(), session=connection)
    scoped = scoped_session(sessionmaker(get_engine()))
    publish(Said(), session=scoped)
    scoped.commit()
    scoped.remove()
    assert stored() == ["Said", "Said"]


def test_many_are_written_by_one_statement() -> None:
    statements: list[str] = []
    with get_engine().connect() as connection:

        @event.listens_for(connection, "before_cursor_execute")
        def count(_: object, __: object, statement: str, *___: object) -> None:
            statements.append(statement)

        publish((Said(words=str(number)) for number in range(100)), session=connection)
        connection.commit()
    assert len([statement for statement in statements if "INSERT" in statement]) == 1
    assert len(stored()) == 100


def test_publishing_the_same_event_twice_stores_it_once() -> None:
    said = Said()
    publish([said, said])
    publish(said)
    assert stored() == ["Said"]


def test_inside_a_handler_it_records_what_caused_it(events_pipeline: InlinePipeline) -> None:
    question = Said(words="ask")
    publish(question)
    events_pipeline.run()
    (answer,) = answers
    assert answer.metadata.causation_id == str(question.event_id)
    assert answer.metadata.correlation_id == str(question.event_id)


def test_an_async_session_publishes_in_its_transaction(tmp_path: Path) -> None:
    async def main() -> None:
        engine = create_async_engine(str(get_engine().url.set(drivername="sqlite+aiosqlite")))
        async with AsyncSession(engine) as session:
            await publish_async(Said(words="kept"), session=session)
            await session.commit()
            await publish_async(Answered(), session=session)
            await session.rollback()
        await publish_async(Said(words="alone"))
        await engine.dispose()

    asyncio.run(main())
    assert stored() == ["Said", "Said"]


def test_an_async_session_given_to_publish_is_told_the_way() -> None:
    engine = create_async_engine("sqlite+aiosqlite:///unused.db")
    with pytest.raises(PublishError, match=r"await publish_async\(event, session=\.\.\.\)"):
        publish(Said(), session=AsyncSession(engine))  # type: ignore[arg-type]


def test_data_over_the_limit_is_refused_and_nothing_of_the_call_is_written() -> None:
    with pytest.raises(PayloadTooLarge, match=r"Said has 300,\d+ bytes of data, over the limit of 262,144 bytes"):
        publish([Said(), Said(words="x" * 300_000)])
    assert stored() == []


@pytest.mark.parametrize("wrong", ["a string", 7, None, {"a": 1}, [1]])
def test_what_is_no_event_is_refused(wrong: object) -> None:
    with pytest.raises(PublishError, match="takes"):
        publish(wrong)  # type: ignore[arg-type]


def test_a_database_without_a_ledger_is_named(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    with engine.connect() as connection, pytest.raises(SchemaError, match=r"other\.db.*events migrate"):
        publish(Said(), session=connection)
    engine.dispose()


def test_an_aggregate_publishes_when_it_is_saved() -> None:
    with Session(get_engine()) as session, session.begin():
        shelf = Shelf(name="new")
        shelf.record(Said(words="a shelf was made"))
        session.add(shelf)
    assert stored() == ["Said"]
    assert shelf.recorded_events == ()


def test_an_aggregate_forgotten_by_its_session_after_a_flush_still_published() -> None:
    with Session(get_engine()) as session, session.begin():
        for number in range(3):
            shelf = Shelf(name=str(number))
            shelf.record(Said(words=shelf.name))
            session.add(shelf)
            session.flush()
            del shelf
    assert stored() == ["Said"] * 3


def test_an_aggregate_without_a_changed_column_publishes_at_commit() -> None:
    with Session(get_engine()) as session, session.begin():
        session.add(Shelf(id=1, name="old"))
    with Session(get_engine()) as session, session.begin():
        session.get_one(Shelf, 1).record(Said(words="looked at"))
    assert stored() == ["Said"]


def test_a_rollback_publishes_nothing_and_a_new_aggregate_may_be_saved_again() -> None:
    shelf = Shelf(name="twice")
    shelf.record(Said())
    with Session(get_engine()) as session:
        session.add(shelf)
        session.flush()
        session.rollback()
        assert stored() == []
        session.add(shelf)
        session.commit()
    assert stored() == ["Said"]


def test_changes_that_a_rollback_undid_are_not_published_later() -> None:
    with Session(get_engine()) as session:
        shelf = Shelf(name="old")
        session.add(shelf)
        session.commit()
        shelf.name = "newer"
        shelf.record(Said(words="renamed"))
        session.rollback()
        shelf.name = "newest"
        session.commit()
    assert stored() == []


def test_a_deleted_aggregate_publishes_its_last_event() -> None:
    with Session(get_engine()) as session, session.begin():
        session.add(Shelf(id=1, name="old"))
    with Session(get_engine()) as session, session.begin():
        shelf = session.get_one(Shelf, 1)
        shelf.record(Said(words="gone"))
        session.delete(shelf)
    assert stored() == ["Said"]


def test_an_aggregate_that_is_no_orm_object_is_published_by_its_repository() -> None:
    class Basket(AggregateRoot):
        pass

    basket = Basket()
    basket.record(Said())
    connection: Connection
    with get_engine().begin() as connection:
        publish_recorded(basket, session=connection)
    assert stored() == ["Said"]
    assert basket.recorded_events == ()
