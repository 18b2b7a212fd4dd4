"""publish(): in the caller's transaction, alone, many at once, inside a handler, from asyncio."""

import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, GetPydanticSchema
from pydantic_core import core_schema
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, event, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker
from sqlalchemy.sql.dml import UpdateBase

from events import (
    DomainEvent,
    EventIdTaken,
    PayloadTooLarge,
    PublishError,
    SchemaError,
    get_engine,
    handles,
    publish,
    publish_async,
)
from events.store.tables import event_store
from events.testing import InlinePipeline


class Uttered(DomainEvent, aggregate_id="who"):
    who: str = "me"
    words: str = ""


class Answered(DomainEvent):
    words: str = ""


class Base(DeclarativeBase):
    pass


class Marked:
    """What mapped classes have in common, and is not mapped itself."""


class Uttering(Marked, Base):
    __tablename__ = "uttering"
    id: Mapped[int] = mapped_column(primary_key=True)


answers: list[Answered] = []


@handles(Uttered)
def answers_when_asked(event: Uttered) -> None:
    if event.words == "ask":
        publish(Answered(words="yes"))


@handles(Answered)
def keeps_answers(event: Answered) -> None:
    answers.append(event)


@pytest.fixture(autouse=True)
def _pipeline(events_pipeline: InlinePipeline) -> None:
    answers.clear()
    return


def stored() -> list[str]:
    with get_engine().connect() as connection:
        return [row.event_type for row in connection.execute(select(event_store).order_by(event_store.c.id))]


def test_alone_it_is_durable_when_it_returns() -> None:
    publish(Uttered())
    assert stored() == ["Uttered"]


def test_a_session_that_commits_keeps_it_and_one_that_rolls_back_does_not() -> None:
    with Session(get_engine()) as session:
        publish(Uttered(), session=session)
        session.rollback()
        assert stored() == []
        publish(Uttered(), session=session)
        session.commit()
    assert stored() == ["Uttered"]


def test_a_connection_and_a_scoped_session_do_as_well() -> None:
    with get_engine().begin() as connection:
        publish(Uttered(), session=connection)
    scoped = scoped_session(sessionmaker(get_engine()))
    publish(Uttered(), session=scoped)
    scoped.commit()
    scoped.remove()
    assert stored() == ["Uttered", "Uttered"]


def test_many_are_written_by_one_statement() -> None:
    statements: list[str] = []
    with get_engine().connect() as connection:

        @event.listens_for(connection, "before_cursor_execute")
        def count(_: object, __: object, statement: str, *___: object) -> None:
            statements.append(statement)

        publish((Uttered(words=str(number)) for number in range(100)), session=connection)
        connection.commit()
    assert len([statement for statement in statements if "INSERT" in statement]) == 1
    assert len(stored()) == 100


def test_publishing_the_same_event_twice_stores_it_once() -> None:
    said = Uttered()
    publish([said, said])
    publish(said)
    assert stored() == ["Uttered"]


def test_inside_a_handler_it_records_what_caused_it(events_pipeline: InlinePipeline) -> None:
    question = Uttered(words="ask")
    publish(question)
    events_pipeline.run()
    (answer,) = answers
    assert answer.metadata.causation_id == str(question.event_id)
    assert answer.metadata.correlation_id == str(question.event_id)


def test_an_async_session_publishes_in_its_transaction(tmp_path: Path) -> None:
    async def main() -> None:
        engine = create_async_engine(str(get_engine().url.set(drivername="sqlite+aiosqlite")))
        async with AsyncSession(engine) as session:
            await publish_async(Uttered(words="kept"), session=session)
            await session.commit()
            await publish_async(Answered(), session=session)
            await session.rollback()
        await publish_async(Uttered(words="alone"))
        await engine.dispose()

    asyncio.run(main())
    assert stored() == ["Uttered", "Uttered"]


def test_an_async_session_given_to_publish_is_told_the_way() -> None:
    engine = create_async_engine("sqlite+aiosqlite:///unused.db")
    with pytest.raises(PublishError, match=r"await publish_async\(event, session=\.\.\.\)"):
        publish(Uttered(), session=AsyncSession(engine))  # type: ignore[arg-type]


def test_an_async_session_without_greenlet_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a session of SQLAlchemy 2.0, which makes one without greenlet
    session = AsyncSession(create_async_engine(str(get_engine().url.set(drivername="sqlite+aiosqlite"))))
    monkeypatch.setitem(sys.modules, "greenlet", None)
    # When it's given to publish_async, then the error is one line with the cure
    with pytest.raises(
        PublishError, match=r"^publish_async\(session=\.\.\.\) needs greenlet.*: pip install '.*\[asyncio\]'$"
    ):
        asyncio.run(publish_async(Uttered(), session=session))
    # And alone it goes without
    asyncio.run(publish_async(Uttered(words="alone")))
    assert stored() == ["Uttered"]


def test_data_over_the_limit_is_refused_and_nothing_of_the_call_is_written() -> None:
    with pytest.raises(PayloadTooLarge, match=r"Uttered has 300,\d+ bytes of data, over the limit of 262,144 bytes"):
        publish([Uttered(), Uttered(words="x" * 300_000)])
    assert stored() == []


@pytest.mark.parametrize("wrong", ["a string", 7, None, {"a": 1}, [1]])
def test_what_is_no_event_is_refused(wrong: object) -> None:
    with pytest.raises(PublishError, match="takes"):
        publish(wrong)  # type: ignore[arg-type]


def test_a_database_without_a_ledger_is_named(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    with engine.connect() as connection, pytest.raises(SchemaError, match=r"other\.db.*events migrate"):
        publish(Uttered(), session=connection)
    engine.dispose()


class Customer(BaseModel, frozen=True):
    """Is its id, as far as `==` goes."""

    id: int
    name: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Customer) and other.id == self.id

    def __hash__(self) -> int:
        return self.id


@dataclass
class Amount:
    value: int
    unit: str = field(compare=False, default="EUR")


class Weight:
    """Can't be hashed."""

    def __init__(self, grams: int) -> None:
        self.grams = grams

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Weight) and other.grams == self.grams

    __hash__ = None  # type: ignore[assignment]


InstanceOfWeight = Annotated[
    Weight,
    GetPydanticSchema(
        lambda _, __: core_schema.no_info_plain_validator_function(
            lambda given: given if isinstance(given, Weight) else Weight(given),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda weight: weight.grams),
        )
    ),
]


class Bought(DomainEvent):
    anything: Any = None
    customer: Customer = Customer(id=1, name="a")
    amount: Amount = Amount(1)
    weights: dict[str, InstanceOfWeight] = Field(default_factory=dict)
    tags: frozenset[str] = frozenset("xyz")


@pytest.mark.parametrize(
    ("one", "other"),
    [({"anything": 1}, {"anything": True}), ({"anything": {"a": [0]}}, {"anything": {"a": [False]}}), ({},
      {"customer": Customer(id=1, name="b")}), ({}, {"amount": Amount(1, "USD")})],
)  # fmt: skip
def test_what_only_seems_equal_is_another_event(
    events_pipeline: InlinePipeline, one: dict[str, Any], other: dict[str, Any]
) -> None:
    # Given a stored event
    event = Bought(weights={"a": Weight(1)}, **one)
    publish(event)
    # When it comes again, its set in another order, then that is nothing new
    publish(event.model_copy(update={"tags": frozenset("zyx")}))
    # And when another has its id, and Python's `==` takes what differs for equal, then that is said
    with pytest.raises(EventIdTaken, match="event_data"):
        publish(event.model_copy(update=other))


def test_a_session_that_routes_publishes_where_it_writes(events_pipeline: InlinePipeline) -> None:
    # Given a session that sends what reads to one engine and what writes to another
    reader, writer = (create_engine(get_engine().url) for _ in range(2))

    class Routing(Session):
        def get_bind(self, mapper: Any = None, *, clause: Any = None, **_: Any) -> Any:
            return writer if isinstance(clause, UpdateBase) else reader

    with Routing() as session:
        # When it publishes, then the event is in the transaction that its rows are in
        publish(Uttered(), session=session)
        connection = session.connection(bind_arguments={"clause": insert(event_store)})
        assert connection.engine is writer
        assert connection.scalar(select(func.count()).select_from(event_store)) == 1
        session.rollback()
    reader.dispose()
    writer.dispose()
    assert stored() == []


@pytest.mark.parametrize("other", [True, False])
@pytest.mark.parametrize("twophase", [True, False])
@pytest.mark.parametrize("by", [Table("things", MetaData(), Column("id", Integer)), Uttering, Base, Marked], ids=str)
def test_a_session_with_binds_is_told_once_that_its_rows_are_another_transaction(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, other: bool, twophase: bool, by: Any
) -> None:
    # Given sessions whose rows go to another engine, to the same one, or to both at once in two phases
    here = get_engine()
    there = create_engine(f"sqlite:///{tmp_path / 'other.db'}") if other else here
    # When they publish
    for _ in range(2):
        session = Session(here, binds={by: there}, twophase=twophase)
        if twophase:  # SQLite knows nothing of it
            session.connection = lambda **_: connection  # type: ignore[method-assign, assignment]
        with session, here.connect() as connection:
            publish(Uttered(words="here"), session=session)
            session.rollback()
    # Then the dangerous ones are told of both databases, once
    told = [record.getMessage() for record in caplog.records if "binds=" in record.getMessage()]
    assert len(told) == (other and not twophase)
    assert all("other.db" in one and "twophase=True" in one for one in told)
    there.dispose()


class Deciding(Session):
    """Goes where it likes."""

    def get_bind(self, *_: Any, **__: Any) -> Any:
        return get_engine()


class Asking(Session):
    """Has to know what is done before it can say where."""

    def get_bind(self, mapper: Any = None, *, clause: Any = None, **more: Any) -> Any:
        if mapper is not None and "tenant" not in more:
            raise LookupError("whose?")
        return super().get_bind(**more)


@pytest.mark.parametrize("own", [Deciding, Asking])
def test_a_session_that_decides_by_itself_where_rows_go_is_told_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, own: type[Session]
) -> None:
    # Given a session with binds, of a class that decides by itself where to go, as that of a handler does
    there = create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    # When it publishes
    with own(get_engine(), binds=dict.fromkeys((Uttering, Base, Marked), there)) as session:
        publish(event := Uttered(words="here"), session=session)
        session.commit()
    # Then that works, and nobody is warned
    assert "binds=" not in caplog.text
    with get_engine().connect() as connection:
        assert connection.scalar(select(func.count()).where(event_store.c.id == event.event_id)) == 1
    there.dispose()


def test_a_session_that_has_binds_alone_is_told_what_it_lacks() -> None:
    with Session(binds={Uttering: get_engine()}) as session, pytest.raises(PublishError) as caught:
        publish(Uttered(words="here"), session=session)
    said = str(caught.value)
    assert said.startswith("session= is a Session without a bind for the ledger: make it with bind=, the engine of")
    assert said.endswith("session=session.connection(bind_arguments={'mapper': SomeModel})")
    # And that cure works
    with Session(binds={Uttering: get_engine()}) as session, session.begin():
        publish(Uttered(words="here"), session=session.connection(bind_arguments={"mapper": Uttering}))
