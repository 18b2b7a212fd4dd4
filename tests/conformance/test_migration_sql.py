"""`events migrate --sql` and `--check`: somebody else runs what it prints, and all is as if it had been run by us."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import make_url, text

from events.store import migrate
from events.store.database.engine import transaction
from events.store.schema.migrating import configured
from events.store.tables import metadata
from support.databases import migrated_postgres, migrated_sqlite
from support.operator import Operator
from support.servers import PostgresDatabase
from support.store import Store

LATEST = "0015"
OLD = "11111111-1111-4111-8111-111111111111"
NEW = "22222222-2222-4222-8222-222222222222"
EVENT = "INSERT INTO event_store (id, event_type, event_data, processed) VALUES ('{}', 'Said', '{{}}', {})"
DELIVERY = (
    "INSERT INTO event_deliveries (event_id, handler, queue, state, due_at, created_at)"
    f" VALUES ('{OLD}', 'hear', 'q', 'pending', '2026-01-31 09:30:00', '2026-01-31 09:30:00')"
)
ACTION = (
    "INSERT INTO event_actions (id, event_id, handler, action, actor, acted_at)"
    f" VALUES ('{NEW}', '{OLD}', 'hear', 'replayed', 'alice', '2026-01-31 09:30:00')"
)


@pytest.fixture
def operator(url: str) -> Operator:
    return Operator(url)


@pytest.fixture
def like(url: str, tmp_path: Path) -> Iterator[Any]:
    """Makes a copy of another database; "" is one that was migrated by us."""
    made: list[PostgresDatabase] = []

    def copy(of: str = "") -> Store:
        if url.startswith("sqlite"):
            folder = tmp_path / "copy"
            folder.mkdir()
            if not of:
                return Store(migrated_sqlite(folder))
            shutil.copy(make_url(of).database or "", folder)
            return Store(f"sqlite:///{folder / 'events.db'}")
        made.append(PostgresDatabase(make_url(of).database or "" if of else migrated_postgres()))
        return Store(made[-1].url)

    yield copy
    for database in made:
        database.drop()


def run_by_its_shell(store: Store, script: str) -> "subprocess.CompletedProcess[str]":
    shell = ["sqlite3", "-bail", store.path] if store.sqlite else ["psql", "-q", "-v", "ON_ERROR_STOP=1", store.url]
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    return subprocess.run(shell, input=script, capture_output=True, text=True, timeout=60)


def shape(store: Store) -> list[Any]:
    """All that is defined in it."""
    if store.sqlite:
        queries = ["SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"]
    else:
        queries = [
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname",
            "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default"
            " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, ordinal_position",
        ]
    with store.ledger.engine.connect() as connection:
        found = [tuple(row) for query in queries for row in connection.execute(text(query))]
    return [tuple(" ".join(one.split()) if isinstance(one, str) else one for one in row) for row in found]


def rows(store: Store) -> dict[str, list[Any]]:
    with store.ledger.engine.connect() as connection:
        return {name: sorted(map(str, connection.execute(text(f"SELECT * FROM {name}"))))
                for name in [*metadata.tables, "events_schema"]}  # fmt: skip


def test_what_it_prints_makes_the_ledger_in_an_empty_database(empty: Store, operator: Operator, like: Any) -> None:
    # Given an empty database; Then what is pending is named, and nothing is made
    done = operator.runs("migrate", "--check")
    assert (done.returncode, "0001, 0002" in done.stdout, LATEST in done.stdout) == (1, True, True), done.stdout
    script = operator.sees("migrate", "--sql")
    assert not (empty.sqlite and Path(empty.path).exists())
    # When its shell runs the script
    run = run_by_its_shell(empty, script)
    assert (run.returncode, run.stderr) == (0, "")
    # Then all is as if we had migrated it
    assert "up to date" in operator.sees("migrate", "--check")
    ours = like()
    assert shape(empty) == shape(ours)
    assert rows(empty) == rows(ours)
    ours.ledger.close()
    # And it is a ledger
    empty.subscribe()
    event_id = empty.publish()
    assert [wakeup.event_id for wakeup in empty.take()] == [event_id]
    # And there is nothing more to run
    assert operator.sees("migrate", "--sql").startswith("-- celery-domain-events: the tables are up to date")


@pytest.mark.parametrize("revision", ["0001", "0005", "0009", "0011"])
def test_it_goes_on_from_where_the_database_is_with_its_rows(
    empty: Store, operator: Operator, like: Any, revision: str
) -> None:
    # Given a ledger of an older version, with rows, and a copy of it
    with transaction(empty.ledger.engine) as connection:
        command.upgrade(configured(connection=connection), revision)
    true, false = ("1", "0") if empty.sqlite else ("true", "false")
    statements = [EVENT.format(OLD, true), EVENT.format(NEW, false), DELIVERY, *([ACTION] if revision > "0004" else [])]
    for statement in statements:
        empty.foreign(statement)
    empty.ledger.close()
    copy = like(empty.url)
    # When its shell runs the script, and we migrate the copy
    todo = operator.runs("migrate", "--check", "--json").stdout
    run = run_by_its_shell(empty, operator.sees("migrate", "--sql"))
    assert (run.returncode, run.stderr) == (0, "")
    applied = migrate(copy.ledger.engine)
    # Then it is the same, row by row, and what was pending is what we applied
    assert all(f'"{one}"' in todo for one in applied)
    assert f'"{revision}"' not in todo
    assert rows(empty) == rows(copy)
    assert shape(empty) == shape(copy)
    assert operator.gets("migrate", "--check")["pending"] == []  # type: ignore[index]
    copy.ledger.close()


def test_a_script_that_comes_too_late_changes_nothing(empty: Store, operator: Operator) -> None:
    # Given a script, and a database that was migrated in the meantime
    script = operator.sees("migrate", "--sql")
    migrate(empty.ledger.engine)
    before = (shape(empty), rows(empty))
    empty.ledger.close()
    # When it is run
    assert run_by_its_shell(empty, script).returncode != 0
    # Then it has failed as a whole
    assert (shape(empty), rows(empty)) == before


def test_from_scratch_asks_no_database(empty: Store, operator: Operator) -> None:
    nowhere = "sqlite:////nowhere/events.db" if empty.sqlite else "postgresql://me:s3cret@127.0.0.1:1/x"
    assert Operator(nowhere).sees("migrate", "--sql", "--from-scratch") == operator.sees("migrate", "--sql")


def test_a_database_that_can_not_be_asked_is_one_line() -> None:
    for option in ("--check", "--sql"):
        said = Operator("postgresql://me:s3cret@127.0.0.1:1/x").is_refused(1, "migrate", option)
        assert "EVENTS_DATABASE_URL" in said
        assert "s3cret" not in said


def test_an_event_store_of_another_program_is_not_adopted_by_a_script(empty: Store, operator: Operator) -> None:
    empty.foreign("CREATE TABLE event_store (id int PRIMARY KEY)")
    assert "run `events migrate` without --sql" in operator.is_refused(1, "migrate", "--sql")


def test_a_newer_database_is_neither_pending_nor_up_to_date(store: Store, operator: Operator) -> None:
    store.foreign("UPDATE events_schema SET version_num = '9999'")
    for option in ("--check", "--sql"):
        assert "newer version (9999)" in operator.is_refused(1, "migrate", option)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "options", ["--check --sql", "--sql --json", "--from-scratch", "--check --leave-existing", "--sql --leave-existing"]
)
def test_options_that_do_not_go_together_are_wrong_usage(operator: Operator, options: str) -> None:
    assert "--" in operator.is_refused(2, "migrate", *options.split())
