"""An application that publishes, by any driver of its own: what it writes, and what of it is found in the end."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.util import greenlet_spawn

from events import AggregateRoot, DomainEvent
from events.pipeline import Pipeline

T = TypeVar("T")
DRIVERS = {"postgresql": ("psycopg", "psycopg2", "asyncpg"), "sqlite": ("pysqlite", "aiosqlite")}

_TRIGGERS = {
    "sqlite": [
        f"CREATE TRIGGER noted_{when} AFTER {when} ON baskets BEGIN INSERT INTO changes VALUES (NEW.last); END"
        for when in ("INSERT", "UPDATE")
    ],
    "postgresql": [
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO changes VALUES (NEW.last); RETURN NULL; END $$",
        "CREATE TRIGGER noted AFTER INSERT OR UPDATE ON baskets FOR EACH ROW EXECUTE FUNCTION note()",
    ],
}


class CountedUp(DomainEvent):
    number: int


class Base(DeclarativeBase):
    pass


class Row(Base):
    """What an application writes beside an event of the same number."""

    __tablename__ = "rows"
    number: Mapped[int] = mapped_column(primary_key=True)


class Basket(Base, AggregateRoot):
    """An aggregate. The database itself notes each change that is written, in the transaction that writes it."""

    __tablename__ = "baskets"
    id: Mapped[int] = mapped_column(primary_key=True)
    last: Mapped[int]

    def change(self, number: int) -> None:
        self.last = number
        self.record(CountedUp(number=number))


def create_tables(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE changes (number INTEGER NOT NULL)"))
    Base.metadata.create_all(connection)
    for statement in _TRIGGERS[connection.dialect.name]:
        connection.exec_driver_sql(statement)


def empty_tables(pipeline: Pipeline) -> None:
    with pipeline.ledger.engine.begin() as connection:
        for table in ("rows", "baskets", "changes", "event_store"):
            connection.execute(text(f"DELETE FROM {table}"))
        connection.execute(text("INSERT INTO rows VALUES (0)"))  # which is there already, for who inserts it


def found(pipeline: Pipeline) -> tuple[set[int], set[int]]:
    """Numbers of what was written, and of the events."""
    number = (
        "json_extract(event_data, '$.number')"
        if pipeline.ledger.engine.dialect.name == "sqlite"
        else "(event_data ->> 'number')::int"
    )
    with pipeline.ledger.engine.connect() as connection:
        written = connection.scalars(
            text("SELECT number FROM rows WHERE number > 0 UNION SELECT number FROM changes")
        ).all()
        events = connection.scalars(text(f"SELECT {number} FROM event_store")).all()
    return set(written), set(events)


class Application:
    """An application's engine, new for each. What it does with one of asyncio, it does as `run_sync` does."""

    def __init__(self, pipeline: Pipeline, driver: str, *, ours: bool) -> None:
        self._runner: asyncio.Runner | None = None
        self._asyncio: AsyncEngine | None = None
        self._ours = ours
        own = pipeline.ledger.engine
        url = own.url.set(drivername=f"{own.dialect.name}+{driver}")
        if ours:
            self.engine: Engine = own
        elif driver in ("asyncpg", "aiosqlite"):
            self._runner = asyncio.Runner()
            self._asyncio = create_async_engine(url)
            self.engine = self._asyncio.sync_engine
        else:
            self.engine = create_engine(url)

    def do(self, action: Callable[[], T]) -> T:
        if self._runner is None:
            return action()
        result: Any = self._runner.run(greenlet_spawn(action))
        return result  # type: ignore[no-any-return]

    @property
    def of_asyncio(self) -> bool:
        return self._runner is not None

    def close(self) -> None:
        if self._runner is not None and self._asyncio is not None:
            self._runner.run(self._asyncio.dispose())
            for thread in threading.enumerate():  # of aiosqlite's connections, each of which tells the loop of its end
                if "_connection_worker_thread" in thread.name:
                    thread.join(5)
            self._runner.close()
        elif not self._ours:
            self.engine.dispose()
