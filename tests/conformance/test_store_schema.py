"""The schema: migrated, checked, and shared by several processes."""

import subprocess
import sys
import warnings

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from events.errors import ConfigurationError, SchemaError
from events.ledger.records import Wakeup
from events.settings.settings import Settings
from events.store import check_schema, migrate, open_ledger
from events.store.tables import metadata
from support.store import Store
from support.waiting import eventually


def test_migrating_twice_does_nothing_the_second_time(empty: Store) -> None:
    assert migrate(empty.ledger.engine) != []
    assert migrate(empty.ledger.engine) == []
    check_schema(empty.ledger.engine)


def test_two_processes_may_migrate_at_once(empty: Store) -> None:
    # Given two processes; When both migrate
    code = (
        "import sys; from events.store import *; from events.settings import Settings;"
        "l = open_ledger(Settings(database_url=sys.argv[1], broker_url='')); print(migrate(l.engine)); l.close()"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, empty.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60) for process in processes]
    # Then one of them does it, and neither complains
    assert sorted(out.strip() for out, _ in said) == [
        str([f"{number:04}" for number in range(1, 17)]),
        "[]",
    ], said
    assert [err for _, err in said] == ["", ""]


def test_the_migrated_tables_are_those_that_the_code_speaks_of(store: Store) -> None:
    options = {"compare_type": True, "include_object": lambda _, name, kind, *__: name != "events_schema"}
    with warnings.catch_warnings(), store.ledger.engine.connect() as connection:
        warnings.filterwarnings("ignore", ".*expression-based index")  # SQLite doesn't tell what is in it
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    assert differences == []


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
@pytest.mark.parametrize(
    ("option", "ours", "said"),
    [("fillfactor", "70", "60"), ("fillfactor", "70", None), ("autovacuum_vacuum_scale_factor", "0.05", "0.3"),
     ("autovacuum_vacuum_scale_factor", "0.05", None)],
)  # fmt: skip
def test_tables_that_are_written_twice_have_room_and_are_cleaned_soon(
    empty: Store, option: str, ours: str, said: str | None
) -> None:
    # Given a table of events of which somebody has said how full its pages may be, or when it is cleaned, or nobody
    with_ = f" WITH ({option} = {said})" if said else ""
    empty.foreign(
        "CREATE TABLE event_store (id uuid PRIMARY KEY, aggregate_id varchar(255), event_type varchar(255) NOT NULL, "
        "event_data jsonb NOT NULL, version integer NOT NULL, timestamp timestamptz NOT NULL, processed boolean NOT "
        f"NULL, created_at timestamptz NOT NULL){with_}"
    )
    # When it is migrated
    migrate(empty.ledger.engine)
    # Then it is as we want it, and that person's word counts
    options = (
        "SELECT option_value FROM pg_class, pg_options_to_table(reloptions) "
        "WHERE oid = to_regclass(:name) AND option_name = :option"
    )
    with empty.ledger.engine.connect() as connection:
        names = ("event_store", "event_deliveries")
        found = [connection.scalar(text(options), {"name": name, "option": option}) for name in names]
    assert found == [said or ours, ours]


def test_missing_tables_name_the_command_to_run(empty: Store) -> None:
    with pytest.raises(SchemaError, match="run `events migrate`"):
        check_schema(empty.ledger.engine)


def test_a_newer_database_says_so(store: Store) -> None:
    store.foreign("UPDATE events_schema SET version_num = '9999'")
    for action in (check_schema, migrate):
        with pytest.raises(SchemaError, match="newer"):
            action(store.ledger.engine)


def test_an_unreachable_database_is_named_without_its_password() -> None:
    engine = open_ledger(Settings(database_url="postgresql://me:s3cret@127.0.0.1:1/x", broker_url="")).engine
    with pytest.raises(ConfigurationError) as error:
        check_schema(engine)
    engine.dispose()
    assert "EVENTS_DATABASE_URL" in str(error.value)
    assert "s3cret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_what_fails_in_a_migration_is_no_matter_of_the_address(store: Store) -> None:
    # Given tables of the version before, and something in the way
    store.foreign("UPDATE events_schema SET version_num = '0012'")
    # When they are migrated
    with pytest.raises(ConfigurationError, match=r"public.*; mend that") as error:
        migrate(store.ledger.engine)
    # Then nobody is sent to look at the address
    assert "address" not in str(error.value)


def test_processes_that_write_one_file_at_once_lose_nothing(store: Store) -> None:
    # Given four processes that publish 50 events each, in transactions of their own
    code = (
        "import sys; from datetime import datetime, UTC; from uuid import uuid4\n"
        "from events.ledger.envelope import Envelope; from events.settings import Settings\n"
        "from events.store import open_ledger\n"
        "l = open_ledger(Settings(database_url=sys.argv[1], broker_url=''))\n"
        "for _ in range(50):\n"
        "    with l.events.begin() as c:\n"
        "        l.events.append(c, [Envelope(uuid4(), '', 'Said', '{}', 1, datetime.now(UTC), 1, '{}')])\n"
        "l.close()\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, store.url], stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    # When they all run, while this one relays
    store.subscribe()
    taken: list[Wakeup] = []

    def all_taken() -> bool:
        taken.extend(store.take())
        return len(taken) >= 200

    eventually(all_taken, "200 deliveries were taken")
    # Then every event is delivered once
    assert [process.communicate(timeout=60)[1] for process in processes] == [""] * 4
    assert len({wakeup.event_id for wakeup in taken}) == len(taken) == store.count() == 200
