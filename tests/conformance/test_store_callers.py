"""Which transactions publish() writes into, by every driver that an application may have, and which it refuses."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, InvalidRequestError, PendingRollbackError
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from events import PublishError, publish, publish_async
from events.pipeline import Pipeline
from support.publishers import DRIVERS, Application, CountedUp, Row, create_tables
from support.store import Store

EACH_DRIVER = [(dialect, driver) for dialect, drivers in DRIVERS.items() for driver in drivers]


@pytest.fixture
def application(pipeline: Pipeline, driver: str) -> Iterator[Application]:
    application = Application(pipeline, driver, ours=False)
    yield application
    application.close()


def each_driver(*more: tuple[str, str]) -> Any:
    pairs = [("postgres" if dialect == "postgresql" else dialect, driver) for dialect, driver in EACH_DRIVER]
    return pytest.mark.parametrize(("url", "driver"), [*pairs, *more], indirect=["url"])


@each_driver()
@pytest.mark.parametrize("how", ["engine", "connection", "driver"])
def test_autocommit_is_refused(store: Store, application: Application, how: str) -> None:
    # Given a connection that commits each statement
    def connect() -> Connection:
        if how == "engine":
            return application.engine.execution_options(isolation_level="AUTOCOMMIT").connect()
        connection = application.engine.connect()
        if how == "connection":
            return connection.execution_options(isolation_level="AUTOCOMMIT")
        driver: Any = connection.connection.dbapi_connection
        if store.sqlite:
            driver.isolation_level = None
        else:
            driver.autocommit = True
        return connection

    connection = application.do(connect)
    # When it publishes, then that is refused, and the connection is as it was
    with pytest.raises(PublishError, match="AUTOCOMMIT"):
        application.do(lambda: publish(CountedUp(number=1), session=connection))
    assert not connection.in_transaction()
    application.do(connection.close)
    assert store.count() == 0


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("driver", DRIVERS["sqlite"])
def test_a_begin_of_the_applications_own_makes_a_transaction(store: Store, application: Application) -> None:
    def main() -> None:
        with application.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("BEGIN")
            publish(CountedUp(number=1), session=connection)
            connection.exec_driver_sql("ROLLBACK")

    application.do(main)
    assert store.count() == 0


@each_driver()
@pytest.mark.parametrize(
    "options", [{"yield_per": 10}, {"stream_results": True}, {"schema_translate_map": {None: "x"}}]
)
def test_what_is_set_for_the_callers_statements_is_not_for_ours(
    store: Store, application: Application, options: dict[str, Any]
) -> None:
    def main() -> None:
        with application.engine.connect().execution_options(**options) as connection, connection.begin():
            publish(CountedUp(number=1), session=connection)
            publish([CountedUp(number=number) for number in range(5)], session=connection)

    application.do(main)
    assert store.count() == 6


@each_driver()
def test_a_transaction_that_is_over_is_refused_as_sqlalchemy_refuses_it(store: Store, application: Application) -> None:
    with store.ledger.engine.begin() as connection:
        create_tables(connection)
        connection.execute(Row.__table__.insert(), {"number": 1})

    def main() -> None:
        # Given a block whose transaction was rolled back in it
        with application.engine.connect() as connection, connection.begin() as transaction:
            transaction.rollback()
            with pytest.raises(InvalidRequestError, match="closed transaction inside context manager"):
                publish(CountedUp(number=1), session=connection)
        # And a savepoint that was
        with application.engine.begin() as connection, connection.begin_nested() as savepoint:
            savepoint.rollback()
            with pytest.raises(InvalidRequestError, match="closed transaction inside context manager"):
                publish(CountedUp(number=1), session=connection)
        # And a session whose flush has failed
        with Session(application.engine) as session:
            session.add(Row(number=1))
            with pytest.raises(IntegrityError):
                session.flush()
            with pytest.raises(PendingRollbackError):
                publish(CountedUp(number=1), session=session)
        # And a connection that was lost
        with application.engine.connect() as connection:
            connection.begin()
            connection.invalidate()
            with pytest.raises(PendingRollbackError):
                publish(CountedUp(number=1), session=connection)

    application.do(main)
    assert store.count() == 0


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_what_ends_no_transaction_is_refused_by_name(store: Store, pipeline: Pipeline) -> None:
    engine = pipeline.ledger.engine
    maker = sessionmaker(engine)
    wrong: list[tuple[object, str]] = [
        (maker, "not sessionmaker: call it"), (lambda: maker(), "not function: call it"),
        (engine, "not Engine: use `with engine.begin"), (7, "not int"), ("s", "not str"),
    ]  # fmt: skip
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        for given, told in [
            *wrong,
            (driver, f"not {type(driver).__name__}"),
            (connection.begin(), "give its connection"),
        ]:
            with pytest.raises(PublishError, match=told):
                publish(CountedUp(number=1), session=given)  # type: ignore[arg-type]
    assert store.count() == 0


async def _by_asyncio(url: str) -> None:
    engine = create_async_engine(url)
    maker = async_sessionmaker(engine)
    scoped = async_scoped_session(maker, scopefunc=lambda: 1)
    await publish_async(CountedUp(number=1), session=scoped)
    await scoped.commit()
    await scoped.remove()
    async with engine.begin() as connection:
        await publish_async(CountedUp(number=2), session=connection)
    for given, told in ((maker, "call it"), (engine, "async with engine.begin"), (Session(), "use `publish")):
        with pytest.raises(PublishError, match=told):
            await publish_async(CountedUp(number=3), session=given)  # type: ignore[arg-type]
    for session in (AsyncSession(engine), scoped):
        with pytest.raises(PublishError, match="await publish_async"):
            publish(CountedUp(number=3), session=session)  # type: ignore[arg-type]
    await engine.dispose()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_those_of_asyncio(store: Store, pipeline: Pipeline) -> None:
    asyncio.run(_by_asyncio(f"sqlite+aiosqlite:///{store.path}"))
    assert store.count() == 2


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_scoped_session_is_the_session_that_it_stands_for(store: Store, pipeline: Pipeline) -> None:
    class Own(Session):
        pass

    session = scoped_session(sessionmaker(pipeline.ledger.engine, class_=Own))
    publish(CountedUp(number=1), session=session)
    session.rollback()
    publish(CountedUp(number=2), session=session)
    session.commit()
    session.remove()
    assert store.count() == 1
