"""A delivery's savepoint rides along with its handler's first statement, whatever kind of statement that is."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Connection, insert, text

from events import Retry, handles
from events.ledger.outcome import Outcome
from events.testing import InlinePipeline
from support.grouped import HANDLER_OF, Item, in_use, notes, row, run_the_rest, run_together, written

pytestmark = pytest.mark.parametrize("url", ["postgres"], indirect=True)
SUCCEEDED, RETRY, DEAD, BACK = Outcome.SUCCEEDED, Outcome.RETRY, Outcome.DEAD, Outcome.HANDED_BACK
INSERT = "INSERT INTO notes (text) VALUES (%s)"


class First(Item):
    """`do` is the kind of its handler's first statement."""


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _copied(connection: Connection, place: str) -> None:
    with _driver(connection).cursor().copy("COPY notes (text) FROM STDIN") as copy:
        copy.write_row((place,))


def _by_server_cursor(connection: Connection, place: str) -> None:
    with _driver(connection).cursor(name="of_a_handler") as cursor:
        assert cursor.execute("SELECT %s || ''", (place,)).fetchall() == [(place,)]
    connection.execute(insert(notes).values(text=place))


def _streamed(connection: Connection, place: str) -> None:
    query = text("SELECT g FROM generate_series(1, 3) g WHERE g > :least")
    assert len(list(connection.execute(query, {"least": 1}, execution_options={"stream_results": True}))) == 2
    connection.execute(insert(notes).values(text=place))


def _row_by_row(connection: Connection, place: str) -> None:
    rows = list(_driver(connection).cursor().stream("INSERT INTO notes (text) VALUES (%s) RETURNING text", (place,)))
    assert rows == [(place,)]


def _in_the_drivers_savepoint(connection: Connection, place: str) -> None:
    with _driver(connection).transaction():
        _driver(connection).execute(INSERT, (place,))


def _in_the_drivers_pipeline(connection: Connection, place: str) -> None:
    with _driver(connection).pipeline():
        _driver(connection).execute(INSERT, (place,))


def _in_a_savepoint(connection: Connection, place: str) -> None:
    with connection.begin_nested():
        connection.execute(insert(notes).values(text=place))


def _after_an_error_in_a_savepoint(connection: Connection, place: str) -> None:
    with pytest.raises(Exception, match="division by zero"), connection.begin_nested():
        connection.execute(text("SELECT 1 / :nothing"), {"nothing": 0})
    connection.execute(insert(notes).values(text=place))


def _after_values_that_are_none(connection: Connection, place: str) -> None:
    with pytest.raises(psycopg.ProgrammingError):
        _driver(connection).execute(INSERT, (object(),))  # psycopg refuses it before anything is sent
    connection.execute(insert(notes).values(text=place))


KINDS: dict[str, Callable[[Connection, str], object]] = {
    "with values": lambda c, place: c.execute(insert(notes).values(text=place)),
    "without values": lambda c, place: c.execute(text(f"INSERT INTO notes (text) VALUES ('{place}')")),
    "many rows": lambda c, place: c.execute(insert(notes), [{"text": place}]),
    "the driver": lambda c, place: _driver(c).execute(INSERT, (place,)),
    "several in one": lambda c, place: _driver(c).execute(f"SELECT 1; INSERT INTO notes (text) VALUES ('{place}')"),
    "composed": lambda c, place: _driver(c).execute(sql.SQL("INSERT INTO notes (text) VALUES ({})").format(place)),
    "composed, with values": lambda c, place: _driver(c).execute(
        sql.SQL("INSERT INTO {} (text) VALUES (%s)").format(sql.Identifier("notes")), (place,)
    ),
    "binary": lambda c, place: _driver(c).execute(INSERT, (place,), binary=True),
    "prepared": lambda c, place: _driver(c).execute(INSERT, (place,), prepare=True),
    "executemany": lambda c, place: _driver(c).cursor().executemany(INSERT, [(place,)]),
    "executemany, returning": lambda c, place: _driver(c).cursor().executemany(INSERT, [(place,)], returning=True),
    "a cursor that binds by itself": lambda c, place: psycopg.ClientCursor(_driver(c)).execute(INSERT, (place,)),
    "a cursor of the application's": lambda c, place: psycopg.Cursor(_driver(c)).execute(INSERT, (place,)),
    "COPY": _copied,
    "a cursor of the server": _by_server_cursor,
    "streamed by SQLAlchemy": _streamed,
    "streamed by psycopg": _row_by_row,
    "the driver's savepoint": _in_the_drivers_savepoint,
    "the driver's pipeline": _in_the_drivers_pipeline,
    "a savepoint": _in_a_savepoint,
    "an error in a savepoint": _after_an_error_in_a_savepoint,
    "values that can't be sent": _after_values_that_are_none,
}


@handles(First, retry=Retry(max_attempts=2))
def begins_so(event: First, connection: Connection) -> None:
    kind, _, then = event.do.partition(", then ")
    KINDS[kind](connection, event.place)
    if then == "fail":
        raise ValueError(f"{event.place} after it wrote")
    if then == "hide an error":
        with pytest.raises(psycopg.errors.DivisionByZero):
            _driver(connection).execute("SELECT 1 / %s", (0,))


HANDLER_OF[First] = "begins_so"


@pytest.fixture
def pipeline(url: str) -> Iterator[InlinePipeline]:
    with in_use(url) as pipeline:
        yield pipeline


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_fails_is_undone_and_takes_nothing_of_the_others_along(pipeline: InlinePipeline, kind: str) -> None:
    # Given three in one group that begin with such a statement, of which the second fails then
    events = [First(place=place, do=kind + (", then fail" if place == "b" else "")) for place in "abc"]
    # When they are run
    assert run_together(pipeline, *events) == [SUCCEEDED, BACK, SUCCEEDED]
    # Then the others' effects are there, each once, and alone that one fails the same
    assert written() == ["a", "c"]
    assert run_the_rest(pipeline) == {events[1].event_id: [RETRY, DEAD]}
    assert written() == ["a", "c"]


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_hides_an_error_that_comes_after_takes_nothing_of_the_others_along(
    pipeline: InlinePipeline, kind: str
) -> None:
    # Given one in the middle of a group, with whose hidden error PostgreSQL gives up the transaction
    events = [First(place=place, do=kind + (", then hide an error" if place == "b" else "")) for place in "abc"]
    # When everything has been run
    run_together(pipeline, *events)
    run_the_rest(pipeline)
    # Then the others' effects are there, each once, and that one is a dead letter without any
    assert [row(event).state for event in events] == ["succeeded", "dead", "succeeded"]
    assert written() == ["a", "c"]


def test_a_group_of_all_kinds_writes_what_each_writes_alone(pipeline: InlinePipeline) -> None:
    # Given a group in which every kind stands twice, once to fail
    events = [
        First(place=f"{number:03}", do=f"{kind}{then}")
        for number, (then, kind) in enumerate((then, kind) for then in ("", ", then fail") for kind in KINDS)
    ]
    # When everything has been run
    run_together(pipeline, *events)
    run_the_rest(pipeline)
    # Then each that didn't fail has written once
    assert written() == [event.place for event in events if not event.do.endswith("fail")]
