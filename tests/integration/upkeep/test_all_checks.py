"""What is true of all checks of PostgreSQL's upkeep."""

import json
import os
from pathlib import Path

import psycopg

from events.diagnosis.findings import Level
from events.diagnosis.upkeep import LIMITS
from events.pipeline import Pipeline
from events.settings.settings import Settings
from support.databases import migrated_postgres, migrated_sqlite
from support.operator import events
from support.roles import Role
from support.servers import PostgresDatabase, pooled
from support.upkeep import CHECKS, OWN, Say, dead, fill


def test_a_healthy_ledger_is_in_order(pipeline: Pipeline, say: Say) -> None:
    fill(say)
    assert [[finding.level for finding in check(pipeline)] for check in CHECKS] == [[Level.OK]] * 4


def test_no_check_waits_for_a_lock_on_a_table(pipeline: Pipeline, database: PostgresDatabase) -> None:
    # Given somebody who alters our largest table
    with psycopg.connect(database.url) as other:
        other.execute("LOCK TABLE ledger.event_store, ledger.event_deliveries IN ACCESS EXCLUSIVE MODE")
        with psycopg.connect(database.url, autocommit=True) as owner:
            owner.execute(f"ALTER DATABASE {database.name} SET lock_timeout = '1ms'")
        # Then the checks answer all the same
        assert all(check(pipeline) for check in CHECKS)


def test_a_role_that_may_read_nothing_is_told_what_anybody_may_know(
    pipeline: Pipeline, database: PostgresDatabase
) -> None:
    guest = Role(database.url)
    guest.may("USAGE ON SCHEMA ledger")
    there = Pipeline(Settings(database_url=guest.url, broker_url="", ledger_schema="ledger"))
    try:
        assert [[finding.level for finding in check(there)] for check in CHECKS] == [[Level.OK]] * 4
    finally:
        there.ledger.close()
        guest.gone()


def test_the_command_tells_all_of_it(pipeline: Pipeline, say: Say, database: PostgresDatabase) -> None:
    # Given as many dead rows as harm, in a table without autovacuum
    say(f"ALTER TABLE {OWN} SET (autovacuum_enabled = off)")
    fill(say, LIMITS.dead)
    say(f"DELETE FROM {OWN}")
    dead(pipeline)
    # When doctor is run
    environment = {"PATH": os.environ["PATH"], "EVENTS_DATABASE_URL": database.url, "EVENTS_SCHEMA": "ledger"}
    done = events("doctor", "--json", environment=environment | {"EVENTS_HANDLERS": "colorsys"})
    told = {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}
    # Then all checks are in its report
    levels = {name: told[name]["level"] for name in ("old snapshots", "dead rows", "autovacuum", "index bloat")}
    assert levels == {"old snapshots": "ok", "dead rows": "warning", "autovacuum": "warning", "index bloat": "ok"}
    assert told["dead rows"]["found"].startswith(f"{OWN} has 50,000 dead rows beside 0 living rows")
    assert told["autovacuum"]["cure"] == f"run: ALTER TABLE {OWN} RESET (autovacuum_enabled)"


def test_sqlite_has_no_such_thing(tmp_path: Path) -> None:
    pipeline = Pipeline(Settings(database_url=migrated_sqlite(tmp_path), broker_url=""))
    assert [check(pipeline) for check in CHECKS] == [[]] * 4
    pipeline.ledger.close()


def test_through_pgbouncer_in_transaction_mode_all_is_the_same() -> None:
    database = PostgresDatabase(migrated_postgres())
    pipeline = Pipeline(Settings(database_url=pooled(database.url), broker_url="", listen=False))
    try:
        assert [[finding.level for finding in check(pipeline)] for check in CHECKS] == [[Level.OK]] * 4
    finally:
        pipeline.ledger.close()
        database.drop()
