"""A database that goes away, in every way and at every moment of a delivery: no attempt is counted, and all is done.

What a handler does to itself is counted, and ends.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from _chaos.machines import Machine
from sqlalchemy import Column, Connection, MetaData, NullPool, String, Table, create_engine, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from events import DomainEvent, Retry, get_engine, handles, publish
from events.outcome import Outcome
from events.pipeline import use_pipeline
from events.settings import Settings
from events.store.away import SUSPECTED
from events.store.tables import event_attempts, event_deliveries
from events.testing import InlinePipeline
from support.outages import Database, Postgres, Sqlite, impatient
from support.servers import own_server
from support.store import HOUR
from support.waiting import eventually

tables = MetaData()
effects = Table("outage_effects", tables, Column("event", String(50)))

do: dict[str, Callable[[Connection], object]] = {}  # what the handler does for an event of that name, when it runs
runs: list[str] = []


class Wanted(DomainEvent):
    name: str


@handles(Wanted, retry=Retry(max_attempts=1))
def writes_once(event: Wanted, connection: Connection) -> None:
    runs.append(event.name)
    if event.name in do:
        do[event.name](connection)
    connection.execute(insert(effects).values(event=event.name))


@pytest.fixture(scope="module")
def server() -> Iterator[Machine]:
    with own_server("postgres") as machine:
        yield machine


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    found: Sqlite | Postgres = (
        Sqlite(tmp_path / "events.db") if request.param == "sqlite" else Postgres(request.getfixturevalue("server"))
    )
    with impatient():
        yield found
        found.close()


@pytest.fixture
def pipeline(database: Database) -> Iterator[InlinePipeline]:
    pipeline = InlinePipeline(Settings(database_url=database.url, broker_url=""))
    pipeline.migrate()
    use_pipeline(pipeline)
    tables.create_all(get_engine())
    if isinstance(database, Sqlite):
        database.watch(get_engine())
    do.clear()
    runs.clear()
    yield pipeline
    use_pipeline(None)
    pipeline.close()


def run_until_settled(pipeline: InlinePipeline, *, hurry: bool = False) -> list[str]:
    """As a worker and a relay would, which outlive it; the states in the end."""

    def states() -> list[str]:
        try:
            if hurry:  # past the pauses
                with get_engine().begin() as connection:
                    waits = event_deliveries.c.state == "pending"
                    connection.execute(update(event_deliveries).where(waits).values(due_at=event_deliveries.c.created_at))
            pipeline.run()
            with get_engine().connect() as connection:
                found = list(connection.scalars(select(event_deliveries.c.state)))
        except DBAPIError:  # the relay's own round
            return []
        return found if found and set(found) <= {"succeeded", "dead"} else []

    return list(eventually(states, "all deliveries have an outcome"))


def counted() -> list[int]:
    with get_engine().connect() as connection:
        delivery = event_deliveries.c
        return list(connection.scalars(select(delivery.attempts - delivery.attempts_before)))


def written() -> list[str]:
    with get_engine().connect() as connection:
        return sorted(connection.scalars(select(effects.c.event)))


def in_the_handler(database: Database, way: str) -> Callable[[Connection], object]:
    def act(connection: Connection) -> None:
        if runs.count("a") == 1:
            database.go_away(way)
            for _ in range(50):  # more than fits, if the disk is full
                connection.execute(insert(effects), [{"event": "more" * 12}] * 50)
            connection.execute(effects.delete())

    return act


def before_the_outcome(database: Database, way: str) -> Callable[[Connection], object]:
    def act(connection: Connection) -> None:
        if runs.count("a") == 1:
            connection.execute(effects.delete())  # it holds a lock
            database.go_away(way)

    return act


def wrapped(database: Database, way: str) -> Callable[[Connection], object]:
    def act(connection: Connection) -> None:
        if runs.count("a") == 1:
            database.go_away(way)
            try:
                connection.execute(insert(effects).values(event="more"))
            except DBAPIError:
                raise RuntimeError("the handler's own words") from None
            if way != "read-only":  # which begins with the next transaction
                raise RuntimeError("and its own failure, for the same reason")

    return act


def by_its_own_engine(database: Database, way: str) -> Callable[[Connection], object]:
    def act(connection: Connection) -> None:
        if runs.count("a") == 1:
            database.go_away(way)
            url = get_engine().url
            arguments = {"timeout": 0.1} if url.get_backend_name() == "sqlite" else {}
            with create_engine(url, poolclass=NullPool, connect_args=arguments).begin() as own:
                own.execute(text("CREATE TABLE own (x int)"))
            raise RuntimeError("it was back by then")

    return act


WAYS = [*(("sqlite", way) for way in Sqlite.ways), *(("postgres", way) for way in Postgres.ways)]
each_way = pytest.mark.parametrize(("database", "way"), WAYS, indirect=["database"])


@each_way
@pytest.mark.parametrize("act", [in_the_handler, before_the_outcome, wrapped])
def test_an_attempt_that_the_database_cut_short_is_not_counted(
    pipeline: InlinePipeline, database: Database, way: str, act: Callable[..., Callable[[Connection], object]]
) -> None:
    if database.url.startswith("sqlite") and (act is before_the_outcome or (way == "full" and act is wrapped)):
        pytest.skip("what is locked, or still fits, can be written")
    # Given a handler that may fail never; When the database goes away while it runs
    do["a"] = act(database, way)
    publish(Wanted(name="a"))
    # Then it has run again, with nothing counted but the run that went well
    assert run_until_settled(pipeline) == ["succeeded"]
    assert len(runs) > (0 if way in ("read-only", "locked") else 1)
    assert counted() == [1]
    assert written() == ["a"]
    # And its history says why
    with get_engine().connect() as connection:
        attempts = connection.execute(select(event_attempts)).all()
    assert {one.outcome for one in attempts} <= {"handed back"}
    assert {one.error_type for one in attempts} <= {"events.errors.DatabaseAway"}


@each_way
def test_a_claim_waits_for_the_database(pipeline: InlinePipeline, database: Database, way: str) -> None:
    # Given a delivery that was sent
    publish(Wanted(name="a"))
    pipeline.subscribe()
    pipeline.relay().step()
    (group,) = pipeline.inline.sent
    # When the database goes away before it is claimed
    database.go_away(way)
    results = pipeline.deliverer("w1").deliver("writes_once", {one.event_id: one.attempt for one in group})
    # Then the worker has waited for it
    assert [result.outcome for result in results.values()] == [Outcome.SUCCEEDED]
    assert counted() == [1]


@each_way
def test_in_a_group_nobody_is_blamed(pipeline: InlinePipeline, database: Database, way: str) -> None:
    # Given three deliveries in one message, in the first of which the database goes away
    do["a"] = in_the_handler(database, way)
    publish([Wanted(name=name) for name in "abc"])
    pipeline.subscribe()
    outbox = pipeline.ledger.outbox
    outbox.fan_out(10)
    (group,) = outbox.take_due("events", 10, HOUR, None, (), lambda due: [tuple(one.wakeup for one in due)])
    pipeline.deliverer("w1").deliver("writes_once", {one.event_id: one.attempt for one in group})
    # Then all are done, by one counted attempt each
    assert run_until_settled(pipeline) == ["succeeded"] * 3
    assert counted() == [1, 1, 1]
    assert written() == ["a", "b", "c"]


@each_way
def test_an_engine_of_the_handlers_own_that_fails_with_the_ledger_is_not_to_blame(
    pipeline: InlinePipeline, database: Database, way: str
) -> None:
    if way in ("full", "connections end"):
        pytest.skip("a new connection is not hindered by it")
    do["a"] = by_its_own_engine(database, way)
    publish(Wanted(name="a"))
    assert run_until_settled(pipeline) == ["succeeded"]
    assert counted() == [1]


def ends_its_backend(connection: Connection) -> None:
    connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


def closes_its_socket(connection: Connection) -> None:
    import os

    os.dup2(os.open(os.devnull, os.O_RDWR), connection.connection.driver_connection.fileno())  # type: ignore[union-attr]


def closes_its_connection(connection: Connection) -> None:
    connection.connection.driver_connection.close()  # type: ignore[union-attr]


def wants_to_read_only(connection: Connection) -> None:
    connection.execute(text("SET TRANSACTION READ ONLY"))


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
@pytest.mark.parametrize("act", [ends_its_backend, closes_its_socket, closes_its_connection, wants_to_read_only])
def test_a_handler_that_breaks_its_connection_each_time_ends(
    pipeline: InlinePipeline, act: Callable[[Connection], object]
) -> None:
    do["a"] = act
    publish(Wanted(name="a"))
    assert run_until_settled(pipeline, hurry=True) == ["dead"]
    assert len(runs) == SUSPECTED + 1
    assert counted() == [1]


def another_server_is_away(_: Connection) -> None:
    create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none").connect()


def another_file_is_missing(_: Connection) -> None:
    create_engine("sqlite:////nowhere/at.all").connect()


def another_pool_is_empty(_: Connection) -> None:
    other = create_engine("sqlite:////dev/shm/events-other.db", pool_size=1, max_overflow=0, pool_timeout=0.1)
    with other.connect():
        other.connect()


@pytest.mark.parametrize("act", [another_server_is_away, another_file_is_missing, another_pool_is_empty])
def test_another_database_that_is_away_is_a_failure_like_any(
    pipeline: InlinePipeline, act: Callable[[Connection], object]
) -> None:
    do["a"] = act
    publish(Wanted(name="a"))
    assert run_until_settled(pipeline) == ["dead"]
    assert len(runs) == 1


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_our_own_pool_that_has_no_connection_left_is_not_the_handlers_fault(pipeline: InlinePipeline) -> None:
    # Given that all connections are taken while the handler asks for another
    taken: list[Connection] = []

    def act(_: Connection) -> None:
        if runs.count("a") > 1:
            return
        pool = get_engine().pool
        pool._timeout = 0.1  # type: ignore[attr-defined]
        try:
            while True:
                taken.append(get_engine().connect())
        finally:
            for one in taken:
                one.close()

    do["a"] = act
    publish(Wanted(name="a"))
    assert run_until_settled(pipeline) == ["succeeded"]
    assert counted() == [1]


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_claim_whose_answer_was_lost_is_taken_back(pipeline: InlinePipeline) -> None:
    # Given a worker whose claim is committed and not answered
    publish(Wanted(name="a"))
    pipeline.subscribe()
    pipeline.relay().step()
    (group,) = pipeline.inline.sent
    inbox, calls = pipeline.ledger.inbox, [0]
    real = type(inbox).claim

    def claim(self: object, handler: str, attempts: dict[UUID, int], *rest: object) -> list[object]:
        claims = real(inbox, handler, attempts, *rest)  # type: ignore[arg-type]
        calls[0] += 1
        if calls[0] == 1:
            with get_engine().connect() as connection:
                connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return list(claims)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(inbox), "claim", claim)
        pipeline.deliverer("w1").deliver("writes_once", {one.event_id: one.attempt for one in group})
        pipeline.inline.sent.clear()
        # Then it is done soon, long before its lease ends, and not counted
        assert run_until_settled(pipeline) == ["succeeded"]
    assert counted() == [1]
