"""`events doctor` and replication: what standbys and readers of the WAL keep, and doctor on a standby itself."""

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain

import psycopg
import pytest

from events.diagnosis import dead_rows, index_bloat
from events.diagnosis.findings import Finding, Level
from events.diagnosis.old_snapshots import holders, old_snapshots
from events.diagnosis.upkeep import LIMITS
from events.pipeline import Pipeline
from events.settings.settings import Settings
from events.store import migrate
from rigs.chaos.machines import Machine
from support.operator import events
from support.servers import own_server
from support.standby import standby_of
from support.waiting import eventually

SOON = replace(LIMITS, transactions=2)


@pytest.fixture(scope="module")
def primary() -> Iterator[Machine]:
    """A server with a ledger, whose WAL can be read by all kinds of readers."""
    with own_server("postgres") as machine:
        say(machine, "ALTER SYSTEM SET wal_level = logical")
        machine.restart()
        pipeline = Pipeline(Settings(database_url=machine.url, broker_url=""))
        migrate(pipeline.ledger.engine)
        pipeline.ledger.close()
        say(machine, "CREATE TABLE written (number int)")
        yield machine


@pytest.fixture
def pipeline(primary: Machine) -> Iterator[Pipeline]:
    pipeline = Pipeline(Settings(database_url=primary.url, broker_url=""))
    yield pipeline
    pipeline.ledger.close()


def say(machine: Machine, statement: str) -> None:
    with psycopg.connect(machine.url, autocommit=True) as connection:
        connection.execute(statement)


def told(pipeline: Pipeline, words: str, machine: Machine) -> list[Finding]:
    """The findings that say this, after one more transaction."""
    say(machine, "INSERT INTO written VALUES (1)")
    return [finding for finding in old_snapshots(pipeline, SOON) if words in finding.found]


def test_a_standby_that_reads_for_long_is_named(primary: Machine, pipeline: Pipeline) -> None:
    with standby_of(primary) as standby, psycopg.connect(standby.url) as report:
        # Given a long report on a standby, which asks its primary to keep what the report reads
        report.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        report.execute("SELECT count(*) FROM event_store")
        # Then the standby is named
        wait = partial(eventually, timeout=60)
        (found,) = wait(lambda: told(pipeline, "has hot_standby_feedback", primary), "the standby is named")
        assert found.level is Level.WARNING
        assert "application 'walreceiver', from 127.0.0.1" in found.found
        assert "hot_standby_feedback = off" in found.cure
        # When it uses a slot, then that is named
        say(primary, "SELECT pg_create_physical_replication_slot('copy')")
        say(standby, "ALTER SYSTEM SET primary_slot_name = 'copy'")
        say(standby, "SELECT pg_reload_conf()")
        (found,) = wait(lambda: told(pipeline, "slot copy is active", primary), "the slot is named")
        assert "end the long transaction on its standby" in found.cure
        # When doctor is asked about the standby itself, it says what it can't know, and no check fails
        there = Pipeline(Settings(database_url=standby.url, broker_url=""))
        assert "this server is a standby" in old_snapshots(there)[0].found
        assert (dead_rows.dead_rows(there), dead_rows.autovacuum(there)) == ([], [])
        assert [one.level for one in index_bloat.index_bloat(there)] == [Level.OK]
        there.ledger.close()
        environment = {"PATH": os.environ["PATH"], "EVENTS_DATABASE_URL": standby.url, "EVENTS_HANDLERS": "colorsys"}
        report = events("doctor", "--json", environment=environment).stdout
        assert "this server is a standby" in report
        assert "the check failed" not in report
    # When the standby is gone, its slot still keeps dead rows
    (found,) = wait(lambda: told(pipeline, "slot copy is inactive", primary), "the slot is named")
    assert any(holder.of_tables for holder in holders(pipeline))
    # Until it is dropped, as the cure says
    say(primary, found.cure.partition("run: ")[2])
    assert [one.level for one in old_snapshots(pipeline, SOON)] == [Level.OK]


def test_a_reader_that_stopped_is_named_and_keeps_no_rows_of_ours(primary: Machine, pipeline: Pipeline) -> None:
    # Given a reader of changes that is not there
    say(primary, "SELECT pg_create_logical_replication_slot('reader', 'pgoutput')")
    found = list(chain.from_iterable(told(pipeline, "slot reader is inactive", primary) for _ in range(3)))
    # Then its slot is named; it keeps rows of system tables alone
    assert "it keeps all dead rows of system tables of the last " in found[-1].found
    assert not any(holder.of_tables for holder in holders(pipeline))
    # And is gone by the cure
    say(primary, found[-1].cure.partition("run: ")[2])
    assert told(pipeline, "slot reader", primary) == []
