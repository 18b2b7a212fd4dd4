"""A database that goes away, in every way and at every moment of a delivery: no attempt is counted, and all is done."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, NullPool, create_engine, insert, select, text
from sqlalchemy.exc import DBAPIError

from events import get_engine, publish
from events.ledger.outcome import Outcome
from events.store.tables import event_attempts
from events.testing import InlinePipeline
from support.fragile import Wanted, counted, do, effects, run_until_settled, runs, written
from support.outages import Database, Postgres, Sqlite


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
            connection.execute(effects.delete())

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
each_way = pytest.mark.parametrize(("fickle", "way"), WAYS, indirect=["fickle"])


@each_way
@pytest.mark.parametrize("act", [in_the_handler, before_the_outcome, wrapped])
def test_an_attempt_that_the_database_cut_short_is_not_counted(
    on_fickle: InlinePipeline, fickle: Database, way: str, act: Callable[..., Callable[[Connection], object]]
) -> None:
    if fickle.url.startswith("sqlite") and (act is before_the_outcome or (way == "full" and act is wrapped)):
        pytest.skip("what is locked, or still fits, can be written")
    # Given a handler that may fail never; When the database goes away while it runs
    do["a"] = act(fickle, way)
    publish(Wanted(name="a"))
    # Then it has run again, with nothing counted but the run that went well
    assert run_until_settled(on_fickle) == ["succeeded"]
    assert len(runs) > (0 if way in ("read-only", "locked") else 1)
    assert counted() == [1]
    assert written() == ["a"]
    # And its history says why
    with get_engine().connect() as connection:
        attempts = connection.execute(select(event_attempts)).all()
    assert {one.outcome for one in attempts} <= {"handed back"}
    assert {one.error_type for one in attempts} <= {"events.errors.DatabaseAway"}


@each_way
def test_a_claim_waits_for_the_database(on_fickle: InlinePipeline, fickle: Database, way: str) -> None:
    # Given a delivery that was sent
    publish(Wanted(name="a"))
    on_fickle.subscribe()
    on_fickle.relay().step()
    (group,) = on_fickle.inline.sent
    # When the database goes away before it is claimed
    fickle.go_away(way)
    results = on_fickle.deliverer("w1").deliver("writes_once", {one.event_id: one.token for one in group})
    # Then the worker has waited for it
    assert [result.outcome for result in results.values()] == [Outcome.SUCCEEDED]
    assert counted() == [1]


@each_way
def test_in_a_group_nobody_is_blamed(on_fickle: InlinePipeline, fickle: Database, way: str) -> None:
    # Given three deliveries in one message, in the first of which the database goes away
    do["a"] = in_the_handler(fickle, way)
    publish([Wanted(name=name) for name in "abc"])
    on_fickle.subscribe()
    outbox = on_fickle.ledger.outbox
    outbox.fan_out(10)
    with outbox.due("events", 10) as due:
        group = tuple(one.wakeup for one in due.deliveries)
        due.mark([group], timedelta(seconds=1))
    on_fickle.deliverer("w1").deliver("writes_once", {one.event_id: one.token for one in group})
    # Then all are done, by one counted attempt each
    assert run_until_settled(on_fickle) == ["succeeded"] * 3
    assert counted() == [1, 1, 1]
    assert written() == ["a", "b", "c"]


@each_way
def test_an_engine_of_the_handlers_own_that_fails_with_the_ledger_is_not_to_blame(
    on_fickle: InlinePipeline, fickle: Database, way: str
) -> None:
    if way in ("full", "connections end"):
        pytest.skip("a new connection is not hindered by it")
    do["a"] = by_its_own_engine(fickle, way)
    publish(Wanted(name="a"))
    assert run_until_settled(on_fickle) == ["succeeded"]
    assert counted() == [1]


@pytest.mark.parametrize("fickle", ["postgres"], indirect=True)
def test_our_own_pool_that_has_no_connection_left_is_not_the_handlers_fault(on_fickle: InlinePipeline) -> None:
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
    assert run_until_settled(on_fickle) == ["succeeded"]
    assert counted() == [1]


@pytest.mark.parametrize("fickle", ["postgres"], indirect=True)
def test_a_claim_whose_answer_was_lost_is_taken_back(on_fickle: InlinePipeline) -> None:
    # Given a worker whose claim is committed and not answered
    publish(Wanted(name="a"))
    on_fickle.subscribe()
    on_fickle.relay().step()
    (group,) = on_fickle.inline.sent
    inbox, calls = on_fickle.ledger.inbox, [0]
    real = type(inbox).claim

    def claim(self: object, handler: str, attempts: dict[UUID, int], *rest: object, **more: bool) -> list[object]:
        claims = real(inbox, handler, attempts, *rest, **more)  # type: ignore[arg-type]
        calls[0] += 1
        if calls[0] == 1:
            with get_engine().connect() as connection:
                connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return list(claims)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(inbox), "claim", claim)
        on_fickle.deliverer("w1").deliver("writes_once", {one.event_id: one.token for one in group})
        on_fickle.inline.sent.clear()
        # Then it is done soon, long before its lease ends, and not counted
        assert run_until_settled(on_fickle) == ["succeeded"]
    assert counted() == [1]
