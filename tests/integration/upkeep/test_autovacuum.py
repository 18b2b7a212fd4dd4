"""`events doctor` and autovacuum: off for the server, off for a table, or late to freeze."""

from dataclasses import replace

import pytest

from events.diagnosis.dead_rows import autovacuum
from events.diagnosis.findings import Level
from events.diagnosis.upkeep import LIMITS
from events.pipeline import Pipeline
from support.upkeep import OWN, Say
from support.waiting import eventually


@pytest.mark.parametrize("setting", ["autovacuum", "track_counts"])
def test_a_server_without_autovacuum(pipeline: Pipeline, say: Say, setting: str) -> None:
    say(f"ALTER SYSTEM SET {setting} = off")
    say("SELECT pg_reload_conf()")

    def told() -> bool:
        return f"{setting} is off" in autovacuum(pipeline)[0].found

    eventually(told, "it is named")
    for statement in autovacuum(pipeline)[0].cure.removeprefix("run: ").split("; "):
        say(statement)
    eventually(lambda: not told(), "it is mended")


def test_a_table_that_was_not_frozen_for_long(pipeline: Pipeline, say: Say) -> None:
    # Given a table that may be 100,000 transactions old, and 96,000 transactions
    say(f"ALTER TABLE {OWN} SET (autovacuum_freeze_max_age = 100000)")
    say("DO $$ BEGIN FOR number IN 1..96000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$")
    # Then the whole read that comes is told of
    (found,) = autovacuum(pipeline)
    assert found.level is Level.WARNING
    assert f"{OWN} was not frozen for 96," in found.found
    assert "at 100,000 autovacuum reads all of the table" in found.found
    # And can be had before
    say(found.cure.partition(": ")[2].partition(";")[0])
    assert [one.level for one in autovacuum(pipeline)] == [Level.OK]
    # And a database that is near the end of all transactions is an error
    (found,) = autovacuum(pipeline, replace(LIMITS, wraparound=90_000))
    assert found.level is Level.ERROR
    assert "the server takes no more writes" in found.found
