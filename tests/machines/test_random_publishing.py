"""Applications that publish in random ways: an event is there if, and only if, what was written beside it is."""

import gc
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from events import PublishError, publish
from events.current_pipeline import use_pipeline
from events.pipeline import Pipeline
from events.settings.settings import Settings
from support.exploring import SECONDS, explore_machine, long_enough
from support.publishers import DRIVERS, Application, Basket, CountedUp, Row, create_tables, empty_tables, found
from support.store import together


class Publishing(RuleBasedStateMachine):
    """One Session or Connection, used in any order; an engine and a pipeline of this program's own."""

    url = ""

    @initialize(
        driver=st.integers(0, 2), ours=st.booleans(), door=st.sampled_from(["session", "connection", "two phases"])
    )
    def start(self, driver: int, ours: bool, door: str) -> None:
        self.pipeline = Pipeline(Settings(database_url=own_copy(self.url), broker_url=""))
        use_pipeline(self.pipeline)
        drivers = DRIVERS[self.pipeline.ledger.engine.dialect.name]
        self.application = Application(self.pipeline, drivers[driver % len(drivers)], ours=ours)
        self.postgres = self.application.engine.dialect.name == "postgresql"
        two_phase = door == "two phases" and self.application.engine.dialect.driver in ("psycopg", "psycopg2")
        self.by_connection = door == "connection"
        self.numbers = count(1)
        empty_tables(self.pipeline)
        self.told: set[int] = set()  # an error said that one of the two was not written
        self.pending: set[int] = set()  # rows that a flush is to write
        self.baskets: list[Basket] = []
        self.last: dict[Basket, int] = {}  # change, of each
        self.savepoints: list[Any] = []
        self.two_phase = two_phase
        self.begin()

    def begin(self) -> None:
        engine = self.application.engine
        self.session: Any = (
            self.application.do(engine.connect)
            if self.by_connection
            else Session(engine, twophase=self.two_phase, expire_on_commit=False)
        )

    def swallowing(self, action: Callable[[], object]) -> bool:
        """Do it, and go on whatever happens; whether it went well."""
        try:
            self.application.do(action)
        except (SQLAlchemyError, PublishError, self.application.engine.dialect.loaded_dbapi.Error):
            return False
        return True

    def connection(self) -> Connection:
        connection: Connection = self.session if self.by_connection else self.session.connection()
        return connection

    def flush(self) -> None:
        if not self.by_connection and not self.swallowing(self.session.flush):
            self.told |= self.pending | set(self.last.values())
        self.pending.clear()

    # What is written, with an event beside it

    @rule(event_first=st.booleans(), how=st.sampled_from(["core", "text", "orm", "later", "bulk"]))
    def write(self, event_first: bool, how: str) -> None:
        number = next(self.numbers)

        def row() -> None:
            if self.by_connection or how == "core":
                self.session.execute(Row.__table__.insert(), {"number": number})
            elif how == "text":
                self.session.execute(text(f"INSERT INTO rows VALUES ({number})"))
            elif how == "bulk":
                self.session.bulk_insert_mappings(Row, [{"number": number}])
            else:
                self.session.add(Row(number=number))
                if how == "orm":
                    self.session.flush()

        def event() -> None:
            publish(CountedUp(number=number), session=self.session)

        if not all(self.swallowing(action) for action in ([event, row] if event_first else [row, event])):
            self.told.add(number)
        elif how == "later" and not self.by_connection:
            self.pending.add(number)

    @precondition(lambda self: not self.by_connection)
    @rule()
    def make_aggregate(self) -> None:
        basket = Basket(id=next(self.numbers))
        self.change(basket)
        self.baskets.append(basket)
        self.swallowing(lambda: self.session.add(basket))

    @precondition(lambda self: not self.by_connection and self.baskets)
    @rule(which=st.integers(0, 9))
    def change_aggregate(self, which: int) -> None:
        basket = self.baskets[which % len(self.baskets)]
        self.flush()
        if not basket.recorded_events:  # one change a flush: of two the database notes the last alone
            self.swallowing(lambda: self.change(basket))

    def change(self, basket: Basket) -> None:
        self.last[basket] = next(self.numbers)
        basket.change(self.last[basket])

    @precondition(lambda self: not self.by_connection and self.baskets)
    @rule(which=st.integers(0, 9), how=st.sampled_from(["add", "merge", "expunge", "expire", "refresh"]))
    def move_aggregate(self, which: int, how: str) -> None:
        self.flush()
        self.swallowing(lambda: getattr(self.session, how)(self.baskets[which % len(self.baskets)]))

    @precondition(lambda self: not self.by_connection)
    @rule(how=st.sampled_from(["expunge_all", "close", "reset", "expire_all"]))
    def let_go(self, how: str) -> None:
        self.flush()
        self.swallowing(getattr(self.session, how))
        if how in ("close", "reset"):
            self.savepoints.clear()

    # What may happen to it

    @rule()
    def look(self) -> None:
        self.flush()
        self.swallowing(lambda: self.session.execute(text("SELECT count(*) FROM rows")).all())

    @rule()
    def flush_now(self) -> None:
        self.flush()

    @rule()
    def begin_savepoint(self) -> None:
        self.flush()
        self.swallowing(lambda: self.savepoints.append(self.session.begin_nested()))

    @rule(end=st.sampled_from(["commit", "rollback"]), outer=st.booleans())
    def end_savepoint(self, end: str, outer: bool) -> None:
        self.flush()
        if not self.savepoints:  # no precondition: whether there is one depends on other connections, too
            return
        place = -2 if outer and len(self.savepoints) > 1 else -1
        savepoint = self.savepoints[place]
        del self.savepoints[place:]
        self.swallowing(getattr(savepoint, end))

    @rule()
    def insert_unless_it_is_there(self) -> None:
        """As SQLAlchemy's manual does it: in a savepoint, which is rolled back if it is."""
        self.flush()

        def insert() -> None:
            with self.session.begin_nested():
                self.session.execute(text("SELECT count(*) FROM rows"))
                self.session.execute(text("INSERT INTO rows VALUES (0)"))

        self.swallowing(insert)

    @rule(end=st.sampled_from(["commit", "commit", "rollback"]))
    def end_transaction(self, end: str) -> None:
        self.flush()
        self.savepoints.clear()
        if not self.swallowing(getattr(self.session, end)):
            self.swallowing(self.session.rollback)

    @rule(statement=st.sampled_from(["SELECT nonsense", "INSERT INTO rows VALUES (0)"]))
    def fail(self, statement: str) -> None:
        self.flush()
        self.swallowing(lambda: self.session.execute(text(statement)))

    @rule(end=st.sampled_from(["commit", "rollback"]))
    def end_by_the_driver(self, end: str) -> None:
        self.flush()
        self.swallowing(lambda: getattr(self.connection().connection.dbapi_connection, end)())

    @precondition(lambda self: self.postgres)
    @rule()
    def cut_connection(self) -> None:
        self.flush()
        backend: list[int] = []
        self.swallowing(lambda: backend.append(self.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar()))
        if backend:
            with self.pipeline.ledger.engine.begin() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": backend[0]})

    @rule()
    def start_anew(self) -> None:
        """With the same pool."""
        self.flush()
        self.leave()
        self.begin()

    @precondition(lambda self: not self.application.of_asyncio)
    @rule()
    def crowd(self) -> None:
        """Threads that publish at the same moment, the first to do so by their engine."""
        self.flush()
        self.leave()
        another = Application(self.pipeline, self.application.engine.dialect.driver, ours=False)

        def publish_one() -> None:
            number = next(self.numbers)
            with another.engine.begin() as connection:
                connection.execute(Row.__table__.insert(), {"number": number})
                publish(CountedUp(number=number), session=connection)

        together(*[publish_one] * (8 if self.postgres else 3))
        another.close()
        self.begin()

    def leave(self) -> None:
        self.savepoints.clear()
        if self.session is None:
            return
        if not self.swallowing(self.session.close):
            self.swallowing(self.session.invalidate)
        self.session = None
        gc.collect()  # what was left in the middle of savepoints that the driver had ended still holds its locks

    def teardown(self) -> None:
        if not hasattr(self, "application"):
            return
        try:
            self.leave()
            written, events = found(self.pipeline)
            apart = (written ^ events) - self.told
            assert not apart, f"rows without events: {apart & written}; events without rows: {apart & events}"
        finally:
            self.application.close()
            use_pipeline(None)
            self.pipeline.close()


def own_copy(url: str) -> str:
    """Of a file: what one program left open is not in the way of the next."""
    if not url.startswith("sqlite"):
        return url
    file = Path(url.removeprefix("sqlite:///"))
    copy = file.with_name(f"{uuid4().hex}.db")
    copy.write_bytes(file.read_bytes())
    return f"sqlite:///{copy}"


@pytest.fixture
def migrated(url: str) -> str:
    """A database with a ledger and the application's tables."""
    pipeline = Pipeline(Settings(database_url=url, broker_url=""))
    pipeline.migrate()
    with pipeline.ledger.engine.begin() as connection:
        create_tables(connection)
    pipeline.close()
    return url


@long_enough
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # it warns of much that these applications do
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # connections that were cut
def test_an_event_is_there_if_and_only_if_its_row_is(migrated: str) -> None:
    explore_machine(type("Publishing", (Publishing,), {"url": migrated}), examples=15 if SECONDS else 8, steps=25)
