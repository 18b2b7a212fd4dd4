"""`events doctor` and dead rows: how many there are, and each reason why they are still there."""

from contextlib import closing

import psycopg

from events.diagnosis.dead_rows import autovacuum, dead_rows
from events.diagnosis.findings import Level
from events.pipeline import Pipeline
from events.settings.settings import Settings
from support.roles import Role
from support.servers import PostgresDatabase
from support.upkeep import FEW, OWN, Say, dead, fill
from support.waiting import eventually


def test_dead_rows_that_autovacuum_is_late_for(pipeline: Pipeline, say: Say) -> None:
    # Given a table of which half was deleted, and an autovacuum that doesn't come
    fill(say)
    say(f"DELETE FROM {OWN} WHERE hashtext(id::text) % 2 = 0")
    found = dead(pipeline)
    assert found.found.startswith(f"{OWN} has ")
    assert found.found.endswith("autovacuum lags: no VACUUM yet")
    # Then what the cure says removes them
    say(found.cure.removeprefix("run: ").partition(";")[0])
    eventually(lambda: dead_rows(pipeline, FEW)[0].level is Level.OK, "they are gone")


def test_dead_rows_that_an_old_snapshot_keeps(pipeline: Pipeline, database: PostgresDatabase, say: Say) -> None:
    # Given a transaction that still could read what was deleted
    fill(say)
    with psycopg.connect(database.url) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT 1")
        say(f"DELETE FROM {OWN}")
        found = dead(pipeline)
        # Then that is the reason, and a VACUUM alone is no cure
        assert found.found.endswith("1,000 dead rows beside 0 living rows; an old snapshot keeps them")
        say(f"VACUUM {OWN}")
        assert "an old snapshot keeps them" in dead(pipeline).found
        assert found.cure == f"end what `old snapshots` names, then run: VACUUM {OWN}"
    say(f"VACUUM {OWN}")
    eventually(lambda: dead_rows(pipeline, FEW)[0].level is Level.OK, "they are gone")


def test_what_a_role_of_few_rights_cant_know_may_be_the_reason(
    pipeline: Pipeline, database: PostgresDatabase, say: Say
) -> None:
    # Given dead rows, and a transaction of somebody else
    fill(say)
    guest = Role(database.url)
    guest.may("USAGE ON SCHEMA ledger")
    try:
        with closing(psycopg.connect(database.url)) as other:
            other.execute("SELECT pg_current_xact_id()")
            say(f"DELETE FROM {OWN}")
            there = Pipeline(Settings(database_url=guest.url, broker_url="", ledger_schema="ledger"))
            found = dead(there)
            there.ledger.close()
    finally:
        guest.gone()
    # Then a role that can't see it says so
    assert "if that removes none, a transaction of another role keeps them, as `old snapshots` says" in found.cure


def test_a_table_without_autovacuum(pipeline: Pipeline, say: Say) -> None:
    # Given a table for which somebody turned autovacuum off
    say(f"ALTER TABLE {OWN} SET (autovacuum_enabled = off)")
    fill(say)
    say(f"DELETE FROM {OWN}")
    # Then that is named twice: as what it is, and as the reason of its dead rows
    assert "autovacuum is off, and no VACUUM yet" in dead(pipeline).found
    (found,) = autovacuum(pipeline)
    assert (found.level, found.found) == (Level.WARNING, f"autovacuum is off for {OWN}")
    # And the cure turns it on
    say(found.cure.removeprefix("run: "))
    assert [one.level for one in autovacuum(pipeline)] == [Level.OK]


def test_a_large_table_whose_autovacuum_begins_late(pipeline: Pipeline, say: Say) -> None:
    # Given a table so large, or set so, that autovacuum has no reason yet
    say(f"ALTER TABLE {OWN} SET (autovacuum_vacuum_threshold = 5000)")
    fill(say)
    say(f"DELETE FROM {OWN}")
    found = dead(pipeline)
    assert found.found.endswith("autovacuum begins at 5,000")
    # Then the cure lets it begin earlier
    say(found.cure.removeprefix("run: "))
    assert "autovacuum_vacuum_scale_factor = 0.01" in found.cure
