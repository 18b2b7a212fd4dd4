"""What of SQLAlchemy we lean on beyond its documentation, asked of SQLite in memory."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, ForeignKey, create_engine, event, select, text, update
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.pool import QueuePool

from events.store.database.pools import LedgerPool, make_room
from support.seam_checks import Library

SQLALCHEMY = Library("SQLAlchemy")


class Base(DeclarativeBase):
    pass


class Box(Base):
    __tablename__ = "box"
    id: Mapped[int] = mapped_column(primary_key=True)
    things: Mapped[list["Thing"]] = relationship(cascade="all")


class Thing(Base):
    __tablename__ = "thing"
    id: Mapped[int] = mapped_column(primary_key=True)
    box_id: Mapped[int] = mapped_column(ForeignKey("box.id"))


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        Base.metadata.create_all(connection)
        yield connection
    engine.dispose()


def test_a_merge_goes_through_one_method_for_each_object(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    leans = "what an aggregate recorded, which goes with it through Session.merge"
    merged: list[type] = []
    merge = SQLALCHEMY.has(Session, "_merge", leans)

    def seen(session: Session, state: Any, *arguments: Any, load: bool, **more: Any) -> Any:
        merged.append(type(state.obj()))
        return merge(session, state, *arguments, load=load, **more)

    monkeypatch.setattr(Session, "_merge", seen)
    # Given an object with others behind it
    with Session(connection) as session:
        # When it is merged, then each of them comes by
        session.merge(Box(id=1, things=[Thing(id=1), Thing(id=2)]))
    SQLALCHEMY.keeps(merged == [Box, Thing, Thing], "each merged object comes by", leans)


def test_a_session_that_flushes_says_so(connection: Connection) -> None:
    leans = "events that are recorded in a flush"
    seen: list[bool] = []
    with Session(connection) as session:
        event.listen(session, "before_flush", lambda *_: seen.append(SQLALCHEMY.has(session, "_flushing", leans)))
        session.add(Box(id=1))
        assert not SQLALCHEMY.has(session, "_flushing", leans)
        session.flush()
        assert not session._flushing
    SQLALCHEMY.keeps(seen == [True], "a session that flushes says so", leans)


def test_the_binds_of_a_session_can_be_read(connection: Connection) -> None:
    with Session(binds={Box: connection}) as session:
        binds = getattr(session, "binds", None) or getattr(session, "_Session__binds", {})
    SQLALCHEMY.keeps(connection in binds.values(), "a session's binds can be read", "a warning of other databases")


def test_hooks_of_a_session_are_lists_that_can_be_replaced(connection: Connection) -> None:
    leans = "hooks after a commit, which wait for the delivery's"
    called: list[str] = []
    with Session(connection) as session:
        dispatch: Any = SQLALCHEMY.has(session, "dispatch", leans)
        for name in ("after_commit", "after_rollback", "after_transaction_end"):
            hooks = SQLALCHEMY.has(dispatch, name, leans)
            assert list(hooks) is not None
            SQLALCHEMY.has(hooks, "for_modify", leans)

        class Instead:
            """Stands in for a list of listeners."""

            def __call__(self, *_: Any) -> None:
                called.append("instead")

            def __bool__(self) -> bool:
                return True

        # Given one that is replaced
        dispatch.after_commit = Instead()
        # When the session commits, then what replaces it is called
        session.execute(text("SELECT 1"))
        session.commit()
    SQLALCHEMY.keeps(called == ["instead"], "a session's hooks can be replaced", leans)


def test_statements_that_write_say_so() -> None:
    leans = "a handler's session, closed with changes"
    SQLALCHEMY.keeps(update(Box).is_dml and not select(Box).is_dml, "statements say whether they write", leans)


def test_a_pool_takes_and_gives_back_by_these_methods() -> None:
    leans = "forks, which wait until no connection of SQLite is open"
    log: list[str] = []

    class Seen(QueuePool):
        def _do_get(self) -> Any:
            log.append("taken")
            return super()._do_get()

        def _do_return_conn(self, record: Any) -> None:
            super()._do_return_conn(record)
            log.append("back")

    # Given a pool that tells of it
    opened = lambda: log.append("opened") or sqlite3.connect(":memory:")  # noqa: E731
    pool = Seen(opened)
    # When a connection is had and given back, then it is told before it is opened, and after it is back
    pool.connect().close()
    pool.dispose()
    SQLALCHEMY.keeps(
        log == ["taken", "opened", "back"], "a pool takes and gives back by _do_get, _do_return_conn", leans
    )
    # And an engine's pool is made anew by documented means, of another size
    engine = create_engine("sqlite:///:memory:", poolclass=LedgerPool, pool_size=2, max_overflow=3)
    make_room(engine, 30, 2)
    assert isinstance(engine.pool, QueuePool)
    assert engine.pool.size() == 30
    engine.dispose()


@pytest.mark.parametrize("name", ["do_savepoint", "do_rollback_to_savepoint", "do_release_savepoint"])
def test_savepoints_are_made_by_these_methods_of_the_dialect(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    leans = "cheap savepoints, and those that a group's deliveries share"
    SQLALCHEMY.takes(Dialect, name, ["connection", "name"], leans)
    called: list[Any] = []
    original = getattr(connection.dialect, name)
    monkeypatch.setattr(connection.dialect, name, lambda *given: called.append(given) or original(*given))
    # When savepoints are set, released and rolled back, then the dialect's own attribute is called
    with connection.begin_nested():
        pass
    connection.begin_nested().rollback()
    SQLALCHEMY.keeps(called and called[0][0] is connection, f"{name} of a dialect can be replaced", leans)


def test_an_error_of_the_driver_can_be_wrapped(connection: Connection) -> None:
    leans = "errors of what the driver itself has sent"
    error = sqlite3.IntegrityError("no")
    wrapped = SQLALCHEMY.has(DBAPIError, "instance", leans)(
        "SQL", None, error, sqlite3.Error, connection_invalidated=True, dialect=connection.dialect
    )
    SQLALCHEMY.keeps(isinstance(wrapped, IntegrityError), "an error is of the class of the driver's", leans)
    SQLALCHEMY.keeps(wrapped.orig is error and wrapped.connection_invalidated, "it has the driver's error", leans)


def test_asyncpg_says_whether_it_commits_each_statement() -> None:
    SQLALCHEMY.has(AsyncAdapt_asyncpg_connection, "autocommit", "publish() in AUTOCOMMIT, which is refused")
