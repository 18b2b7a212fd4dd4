"""What a handler does to its own connection, or meets in another database, is its own: it counts, and ends."""

import os
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, create_engine, text

from events import publish
from events.store.database.availability import SUSPECTED
from events.testing import InlinePipeline
from support.fragile import Wanted, counted, do, run_until_settled, runs


def ends_its_backend(connection: Connection) -> None:
    connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


def closes_its_socket(connection: Connection) -> None:
    os.dup2(os.open(os.devnull, os.O_RDWR), connection.connection.driver_connection.fileno())  # type: ignore[union-attr]


def closes_its_connection(connection: Connection) -> None:
    connection.connection.driver_connection.close()  # type: ignore[union-attr]


@pytest.mark.parametrize("fickle", ["postgres"], indirect=True)
@pytest.mark.parametrize("act", [ends_its_backend, closes_its_socket, closes_its_connection])
def test_a_handler_that_breaks_its_connection_each_time_ends(
    on_fickle: InlinePipeline, act: Callable[[Connection], object]
) -> None:
    do["a"] = act
    publish(Wanted(name="a"))
    assert run_until_settled(on_fickle, hurry=True) == ["dead"]
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
    on_fickle: InlinePipeline, act: Callable[[Connection], object]
) -> None:
    do["a"] = act
    publish(Wanted(name="a"))
    assert run_until_settled(on_fickle) == ["dead"]
    assert len(runs) == 1
