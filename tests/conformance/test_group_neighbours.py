"""Neighbours in a group don't feel each other, whatever a handler leaves in its transaction or on its connection."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, text

from events import Retry, get_engine, handles, publish
from events.ledger.outcome import Outcome
from events.testing import InlinePipeline
from support.grouped import (
    HANDLER_OF,
    Item,
    Noticed,
    counted,
    in_use,
    noticed,
    run_the_rest,
    run_together,
    sent_together,
    three,
    written,
)

SUCCEEDED, RETRY, DEAD, BACK = Outcome.SUCCEEDED, Outcome.RETRY, Outcome.DEAD, Outcome.HANDED_BACK


class Touching(Item):
    """`do` is what is done besides."""


@pytest.fixture
def pipeline(url: str) -> Iterator[InlinePipeline]:
    with in_use(url) as pipeline:
        yield pipeline


seen: list[str] = []


def _tenant(connection: Connection, place: str) -> None:
    seen.append(str(connection.scalar(select(func.current_setting("app.tenant", True))) or ""))
    connection.execute(select(func.set_config("app.tenant", place, True)))


def _says(*statements: str) -> Callable[[Connection, str], None]:
    def do(connection: Connection, place: str) -> None:
        for statement in statements:
            connection.exec_driver_sql(statement.replace("PLACE", place))

    return do


def _by_cursor(statement: str) -> Callable[[Connection, str], None]:
    def do(connection: Connection, place: str) -> None:
        driver: Any = connection.connection.driver_connection
        driver.execute(statement)

    return do


def _options(**options: Any) -> Callable[[Connection, str], None]:
    return lambda connection, _: (connection.execution_options(**options), None)[1]


TOUCHES: dict[str, Callable[[Connection, str], None]] = {
    "set_config": _tenant,
    "SET LOCAL": _says("SET LOCAL app.tenant = 'PLACE'"),
    "SET": _says("SET app.tenant = 'PLACE'"),
    "SET in a comment's shadow": _says("/* it's */ -- x\n set local app.tenant = 'PLACE'"),
    "SET behind another": _says("SELECT 1; SET LOCAL app.tenant = 'PLACE'"),
    "SET before a view": _says("SET LOCAL app.tenant = 'PLACE'; CREATE OR replace VIEW w AS SELECT 1"),
    "SET behind a name": _says("SELECT 1 AS \"it's\"; SET LOCAL app.tenant = 'PLACE'; SELECT 'x'"),
    "SET behind an escape": _says(r"SELECT E'it\'s'; SET LOCAL app.tenant = 'PLACE'; SELECT 'x'"),
    "SET behind nested comments": _says("/* /* */ ' */ SET LOCAL app.tenant = 'PLACE'; SELECT 'x'"),
    "SET by the driver": _by_cursor("SET LOCAL app.tenant = 'd'"),
    "SET in a block": _says("DO $$ BEGIN SET LOCAL app.tenant = 'PLACE'; END $$"),
    "a function that sets": _says("SELECT be_tenant('PLACE')"),
    "a function that calls one that sets": _says("SELECT be_tenant_too('PLACE')"),
    "a trigger that sets": _says("INSERT INTO tenants VALUES ('PLACE')"),
    "a partition's trigger": _says("INSERT INTO parts VALUES ('PLACE')"),
    "a trigger behind a foreign key": _says("INSERT INTO owners VALUES ('PLACE')", "DELETE FROM owners"),
    "search_path": _says("SET LOCAL search_path = elsewhere"),
    "search_path for good": _says("SET search_path = elsewhere"),
    "role": _says("SET ROLE nobody_special"),
    "local role": _says("SET LOCAL ROLE nobody_special"),
    "session authorization": _says("SET SESSION AUTHORIZATION nobody_special"),
    "statement_timeout": _says("SET statement_timeout = 1"),
    "serializable": _says("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"),
    "temporary table, dropped": _says("CREATE TEMP TABLE t (x int) ON COMMIT DROP", "INSERT INTO t VALUES (1)"),
    "temporary table": _says("CREATE TEMPORARY TABLE t (x int)"),
    "temporary view": _says("CREATE OR replace TEMP VIEW t AS SELECT 1"),
    "lock": _says("LOCK TABLE tenants IN ACCESS EXCLUSIVE MODE"),
    "advisory lock": _says("SELECT pg_advisory_xact_lock(1)"),
    "advisory lock for good": _says("SELECT pg_advisory_lock(1)"),
    "cursor": _says("DECLARE c CURSOR FOR SELECT 1"),
    "cursor for good": _says("DECLARE c CURSOR WITH HOLD FOR SELECT 1"),
    "LISTEN": _says("LISTEN somebody"),
    "PREPARE": _says("PREPARE p AS SELECT 1"),
    "constraints": _says("SET CONSTRAINTS ALL DEFERRED"),
}
OPTIONS: dict[str, Callable[[Connection, str], None]] = {
    "yield_per": _options(yield_per=10),
    "stream_results": _options(stream_results=True),
    "schema_translate_map": _options(schema_translate_map={None: "elsewhere"}),
}
SCHEMA = [
    "CREATE SCHEMA elsewhere", "CREATE TABLE elsewhere.notes (text text)", "CREATE TABLE tenants (name text)",
    "CREATE FUNCTION be_tenant(t text) RETURNS text LANGUAGE plpgsql AS $$BEGIN "
    "RETURN set_config('app.tenant', t, true); END$$",
    "CREATE FUNCTION be_tenant_too(t text) RETURNS text LANGUAGE sql AS $$SELECT be_tenant(t)$$",
    "CREATE FUNCTION on_tenant() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM be_tenant_too(NEW.name); "
    "RETURN NEW; END$$",
    "CREATE TRIGGER on_tenant BEFORE INSERT ON tenants FOR EACH ROW EXECUTE FUNCTION on_tenant()",
    "CREATE TABLE parts (name text) PARTITION BY LIST (name)",
    "CREATE TABLE any_part PARTITION OF parts DEFAULT",
    "CREATE TRIGGER on_part BEFORE INSERT ON any_part FOR EACH ROW EXECUTE FUNCTION on_tenant()",
    "CREATE TABLE owners (name text PRIMARY KEY)",
    "CREATE TABLE owned (name text REFERENCES owners ON DELETE CASCADE)",
    "CREATE TRIGGER on_owned BEFORE DELETE ON owned FOR EACH ROW EXECUTE FUNCTION on_tenant()",
    "DO $$ BEGIN CREATE ROLE nobody_special; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
    "GRANT ALL ON notes, tenants TO nobody_special",
]  # fmt: skip
STATE = text(
    "SELECT coalesce(current_setting('app.tenant', true), '') || '/' || current_user || '/' || "
    "current_setting('search_path') || '/' || current_setting('statement_timeout') || '/' || "
    "current_setting('transaction_isolation') || '/' || (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() "
    "AND locktype = 'advisory') || '/' || (SELECT count(*) FROM pg_cursors) || '/' || (SELECT count(*) FROM "
    "pg_listening_channels()) || '/' || coalesce(to_regclass('t')::text, '')"
)
sees: list[str] = []


@handles(Touching, retry=Retry(max_attempts=1))
def touches(event: Touching, connection: Connection) -> None:
    if event.do != "serializable":
        sees.append(connection.execute(STATE).scalar_one())
    if event.do in OPTIONS:  # which change how its own statements are executed, too
        _write(event, connection)
        OPTIONS[event.do](connection, event.place)
    else:
        if event.do:
            TOUCHES[event.do](connection, event.place)
        _write(event, connection)


def _write(event: Touching, connection: Connection) -> None:
    publish(Noticed(of=event.place))
    connection.execute(text("INSERT INTO public.notes VALUES (:place)"), {"place": event.place})


HANDLER_OF[Touching] = "touches"


@pytest.fixture
def postgres(url: str, pipeline: InlinePipeline) -> InlinePipeline:
    if url.startswith("sqlite"):
        pytest.skip("SQLite has none of this")
    with get_engine().begin() as connection:
        for statement in SCHEMA:
            connection.exec_driver_sql(statement)
    sees.clear()
    return pipeline


@pytest.mark.parametrize("what", [*TOUCHES, *OPTIONS])
def test_what_a_handler_leaves_is_felt_by_nobody(postgres: InlinePipeline, what: str) -> None:
    # Given three in a group, of which the first does something to its transaction or its connection
    events = three(Touching, what, 0)
    # When they are run
    outcomes = run_together(postgres, *events)
    # Then none of it is committed in company
    assert outcomes == [BACK] * 3
    assert (written(), noticed()) == ([], 0)
    # And by itself each succeeds at its first counted attempt: our statements don't depend on what it left
    rest = run_the_rest(postgres)
    assert rest == {event.event_id: [SUCCEEDED] for event in events}, postgres.dead_letters.find()
    assert [counted(event) for event in events] == [1] * 3
    assert (written(), noticed()) == (["a", "b", "c"], 3)
    # And none has seen anything of another, on whichever connection
    assert len(set(sees)) == 1, sees
    # And the handler is not grouped again by this process
    more = three(Touching, "")
    publish(more)
    deliverer = postgres.deliverer("w2")
    publish(alone := Touching(place="z", do=what))
    rest = {one.event_id: one.token for one in sent_together(postgres, "touches")}
    deliverer.deliver("touches", {alone.event_id: rest.pop(alone.event_id)})
    assert {one.outcome for one in deliverer.deliver("touches", rest).values()} == {BACK}
