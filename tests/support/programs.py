"""Handlers' programs, as words: what code of applications does to the transaction that it is given."""

import os
import time
from typing import Any

from sqlalchemy import Column, Connection, Engine, Integer, String, Table, insert, text
from sqlalchemy.orm import DeclarativeBase, Session

from events import publish
from support.grouped import Noticed

SEEN = "app.seen"  # a setting
LEASE = 5  # seconds; a busy machine may well keep a heartbeat waiting for two


class Base(DeclarativeBase):
    pass


class Effect(Base):
    __tablename__ = "program_effects"
    id = Column(Integer, primary_key=True)
    who = Column(String(20))
    what = Column(String(200))


effects = Effect.__table__
assert isinstance(effects, Table)


class Stop(Exception):
    """What a program raises."""


EVERYWHERE = [
    "core", "driver", "publish", "savepoint", "savepoint rolled back", "savepoint with an error",
    "error hidden in a savepoint", "open savepoint", "options", "fail", "commit", "roll back by text", "temp",
    "swallow", "cursor",
]  # fmt: skip
OF_SESSIONS = [
    "orm", "get_bind", "bind", "session commit", "session rollback", "nested", "add, no flush", "own session",
]  # fmt: skip
OF_PROCESSES = ["sleep", "die"]
OF_SEVERAL = ["lock", "advisory"]  # what several processes at work may do to each other
OF_POSTGRES = [
    "look", "look", "set local", "set", "set_config", "role", "search_path", "timeout", "lock", "advisory",
    "savepoint with set",
]  # fmt: skip


class Steps:
    """What the words of a program do."""

    def __init__(self, who: str, connection: Connection | None, session: Session | None) -> None:
        self.who, self.session = who, session
        bind = connection if session is None else session.get_bind()
        assert isinstance(bind, Connection)
        self.connection = bind
        self.number = 0

    def __call__(self, word: str) -> None:
        self.number += 1
        getattr(self, "do_" + word.replace(" ", "_").replace(",", ""))()

    @property
    def row(self) -> Any:
        return insert(effects).values(who=self.who, what=str(self.number))

    def sql(self, statement: str) -> None:
        self.connection.exec_driver_sql(statement)

    def do_core(self) -> None:
        (self.session or self.connection).execute(self.row)

    def do_driver(self) -> None:
        driver: Any = self.connection.connection.driver_connection
        driver.cursor().execute(f"INSERT INTO program_effects (who, what) VALUES ('{self.who}', '{self.number}')")

    def do_publish(self) -> None:
        publish(Noticed(of=self.who))

    def do_savepoint(self) -> None:
        with self.connection.begin_nested():
            self.connection.execute(self.row)

    def do_savepoint_rolled_back(self) -> None:
        nested = self.connection.begin_nested()
        self.connection.execute(self.row)
        publish(Noticed(of=f"{self.who} rolled back"), session=self.connection)
        nested.rollback()

    def do_savepoint_with_an_error(self) -> None:
        with self.connection.begin_nested():
            self.connection.execute(self.row)
            self.sql("SELECT nonsense")

    def do_error_hidden_in_a_savepoint(self) -> None:
        try:
            self.do_savepoint_with_an_error()
        except Exception:
            self.connection.execute(self.row)

    def do_open_savepoint(self) -> None:
        self.connection.begin_nested()
        self.connection.execute(self.row)

    def do_options(self) -> None:
        self.connection.execution_options(schema_translate_map={"nobody's": "public"})

    def do_fail(self) -> None:
        raise Stop(self.who)

    def do_commit(self) -> None:
        self.connection.commit()

    def do_roll_back_by_text(self) -> None:
        self.sql("ROLLBACK")

    def do_temp(self) -> None:
        self.sql("CREATE TEMP TABLE passing (x int)")

    def do_swallow(self) -> None:
        """An error that is hidden, and not undone: PostgreSQL has given up the transaction then."""
        try:
            self.sql("SELECT nonsense")
        except Exception:
            return

    def do_cursor(self) -> None:
        cursor: Any = self.connection.connection.cursor()
        cursor.execute(f"INSERT INTO program_effects (who, what) VALUES ('{self.who}', '{self.number}')")

    # With a process of its own

    def do_sleep(self) -> None:
        """Over the lease of test_random_groups."""
        time.sleep(LEASE + 0.5)

    def do_die(self) -> None:
        os._exit(7)

    # With a session

    def do_orm(self) -> None:
        assert self.session is not None
        self.session.add(Effect(who=self.who, what=str(self.number)))
        self.session.flush()

    def do_add_no_flush(self) -> None:
        assert self.session is not None
        self.session.add(Effect(who=self.who, what=str(self.number)))

    def do_get_bind(self) -> None:
        self.connection.execute(self.row)

    def do_bind(self) -> None:
        assert self.session is not None
        assert isinstance(self.session.bind, Connection)
        self.session.bind.execute(self.row)

    def do_session_commit(self) -> None:
        assert self.session is not None
        self.session.commit()

    def do_session_rollback(self) -> None:
        assert self.session is not None
        self.session.rollback()

    def do_nested(self) -> None:
        assert self.session is not None
        with self.session.begin_nested():
            self.session.add(Effect(who=self.who, what=str(self.number)))

    def do_own_session(self) -> None:
        with Session(self.connection, join_transaction_mode="create_savepoint") as other:
            other.execute(self.row)
            other.commit()

    # On PostgreSQL

    def do_look(self) -> None:
        found = self.connection.execute(text(
            f"SELECT concat_ws('/', nullif(current_setting('{SEEN}', true), ''), current_user, "
            "current_setting('search_path'), current_setting('statement_timeout'), to_regclass('passing'))"
        )).scalar_one()  # fmt: skip
        statement = text("INSERT INTO public.program_effects (who, what) VALUES (:who, :what)")
        self.connection.execute(statement, {"who": self.who, "what": found})

    def do_set_local(self) -> None:
        self.sql(f"SET LOCAL {SEEN} = '{self.who}'")

    def do_set(self) -> None:
        self.sql(f"SET {SEEN} = '{self.who}'")

    def do_set_config(self) -> None:
        self.connection.execute(text("SELECT be_seen(:who)"), {"who": self.who})

    def do_role(self) -> None:
        self.sql("SET LOCAL ROLE passer_by")

    def do_search_path(self) -> None:
        self.sql("SET search_path = elsewhere, public")

    def do_timeout(self) -> None:
        self.sql("SET LOCAL statement_timeout = '47s'")

    def do_lock(self) -> None:
        self.sql("LOCK TABLE program_effects IN SHARE ROW EXCLUSIVE MODE")

    def do_advisory(self) -> None:
        self.sql("SELECT pg_advisory_lock(47)")

    def do_savepoint_with_set(self) -> None:
        nested = self.connection.begin_nested()
        self.do_set_local()
        nested.rollback()


_OF_POSTGRES = [
    "CREATE SCHEMA elsewhere",
    "CREATE FUNCTION be_seen(t text) RETURNS text LANGUAGE plpgsql AS "
    f"$$BEGIN RETURN set_config('{SEEN}', t, true); END$$",
    "DO $$ BEGIN CREATE ROLE passer_by; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
    "GRANT ALL ON ALL TABLES IN SCHEMA public TO passer_by", "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO passer_by",
    "REVOKE ALL ON event_store, event_deliveries FROM passer_by", "GRANT USAGE ON SCHEMA elsewhere TO passer_by",
]  # fmt: skip


def create_tables(engine: Engine) -> None:
    Base.metadata.create_all(engine)
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            for statement in _OF_POSTGRES:
                connection.exec_driver_sql(statement)
