"""An `event_store` that is there already, on SQLite: it is made anew, and its values read as they were meant."""

import re
import sqlite3
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Column, MetaData, Table, Text, Uuid, insert, select

from events.errors import SchemaError
from events.store import migrate
from support.foreign_table import INDEXES, ORM, WHEN, both_publish, handled, made, row, sqlite_only
from support.store import Store


@sqlite_only
def test_a_table_whose_defaults_are_its_applications_gets_defaults(empty: Store) -> None:
    # Given what an ORM has made, with ids in its own spelling, an index and a trigger
    noted = "CREATE TRIGGER noted AFTER INSERT ON event_store BEGIN INSERT INTO log VALUES (NEW.id); END"
    made(empty, *INDEXES, "CREATE TABLE log (id TEXT)", noted, **ORM)
    done, waiting = (row(empty, id=uuid4().hex.upper(), processed=one, created_at=WHEN) for one in (True, False))
    before = {UUID(value[0]) for value in _all(empty, "SELECT id FROM event_store")}
    # When it is adopted, then publishers need not know these columns, and what stood beside it stands there still
    migrate(empty.ledger.engine)
    assert done != waiting
    (found,) = handled(empty)
    assert {UUID(value[0]) for value in _all(empty, "SELECT id FROM event_store")} == before
    assert {str(value[0]) for value in _all(empty, "SELECT id FROM event_store")} == {str(one) for one in before}
    assert found in before
    both_publish(empty)
    assert len(_all(empty, "SELECT id FROM log")) == 4
    names = {name for (name,) in _all(empty, "SELECT name FROM sqlite_master WHERE type = 'index'")}
    assert {"idx_unprocessed", "idx_aggregate", "event_store_unprocessed", "event_store_aggregate"} <= names


@sqlite_only
def test_indexes_of_a_table_that_is_made_anew_stay_what_they_are(
    empty: Store, recwarn: pytest.WarningsRecorder
) -> None:
    # Given a table that has to be made anew, and indexes of all kinds
    made(
        empty,
        *INDEXES,
        "CREATE INDEX by_lower ON event_store (lower(event_type))",
        "CREATE INDEX by_json ON event_store (aggregate_id, json_extract(event_data, '$.n')) WHERE version > 1",
        "CREATE UNIQUE INDEX once ON event_store (aggregate_id, lower(id))",
        'CREATE INDEX "its ""newest""" ON event_store (timestamp DESC, event_type COLLATE NOCASE)',
        **ORM,
    )
    theirs = "tbl_name = 'event_store' AND name NOT LIKE 'event_store_%' AND sql IS NOT NULL"
    query = f"SELECT name, sql FROM sqlite_master WHERE type = 'index' AND {theirs}"
    before = _all(empty, query)
    row(empty)
    # When it is adopted, then they are there as they were, without a word
    migrate(empty.ledger.engine)
    assert sorted(map(tuple, _all(empty, query))) == sorted(map(tuple, before))
    assert len(before) == 6
    assert [str(one.message) for one in recwarn] == []


@sqlite_only
@pytest.mark.parametrize("column", ['"tenant" TEXT UNIQUE', "tenant TEXT UNIQUE", '"tenant" TEXT, UNIQUE ("tenant")'])
def test_what_was_unique_in_a_table_that_is_made_anew_is_so_still(empty: Store, column: str) -> None:
    # Given a table that has to be made anew, with a constraint that has no name
    definitions = ", ".join(f'"{name}" {kind}' for name, kind in ORM.items() if name != "id")
    empty.foreign(f'CREATE TABLE event_store ("id" CHAR(32) NOT NULL PRIMARY KEY, {definitions}, {column})')
    row(empty, tenant="one")
    # When it is adopted, then it holds as before
    migrate(empty.ledger.engine)
    row(empty, tenant="two")
    with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE constraint failed: event_store\.tenant"):
        row(empty, tenant="one")


def _all(store: Store, query: str) -> list[Any]:
    with store.ledger.engine.connect() as connection:
        return list(connection.exec_driver_sql(query))


@sqlite_only
@pytest.mark.parametrize(
    ("column", "true", "false"),
    [("BOOLEAN DEFAULT 'f'", "t", "f"), ("TEXT", "true", "false"), ("BOOLEAN NOT NULL", 1, "f"), ("INTEGER", 1, 2)],
)
def test_what_sqlite_holds_for_true_is_not_guessed(empty: Store, column: str, true: Any, false: Any) -> None:
    # Given a program that writes no 1 and 0, as some frameworks do
    made(empty, processed=column)
    done, waits = row(empty, processed=true), row(empty, processed=false)
    # When its table is adopted, then nothing is taken for unprocessed that isn't
    with pytest.raises(SchemaError, match=f"processed holds .*'?{false}.* and has to hold 1 or 0") as no:
        migrate(empty.ledger.engine)
    # And when its operator does what is said
    (cure,) = re.findall(r"UPDATE event_store SET processed = processed IN \(.*?\)", str(no.value))
    empty.foreign(cure)
    migrate(empty.ledger.engine)
    assert handled(empty) == [waits]
    shown = empty.ledger.history.event(done)
    assert shown is not None
    assert shown.fanned_out


@sqlite_only
@pytest.mark.parametrize("column", ["BOOLEAN", "TEXT", "INTEGER", "NUMERIC", ""])
def test_however_sqlite_holds_one_and_zero_they_are_adopted(empty: Store, column: str) -> None:
    made(empty, processed=column or "BLOB")
    row(empty, processed=1)
    waits = [row(empty, processed=0), row(empty, processed=None)]
    migrate(empty.ledger.engine)
    assert sorted(handled(empty)) == sorted(waits)


@sqlite_only
def test_an_orm_finds_its_rows_again_by_the_documented_type(empty: Store) -> None:
    # Given a program whose ORM has written ids of 32 hex digits
    docs = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", docs, re.DOTALL)
    made_of: dict[str, Any] = {}
    exec(code, made_of)
    by_hex, by_text = _orm_table(Uuid()), _orm_table(made_of["EventId"]())
    made(empty, id="CHAR(32) NOT NULL PRIMARY KEY")
    event_id = uuid4()
    with empty.ledger.events.begin() as connection:
        connection.execute(insert(by_hex).values(id=event_id, event_type="Said", event_data="{}", timestamp=WHEN))
    # When the table is adopted
    migrate(empty.ledger.engine)
    # Then it finds them by the type that docs/migrating.md shows, and by its own no more, nor what it writes now
    more = uuid4()
    with empty.ledger.events.begin() as connection:
        connection.execute(insert(by_text).values(id=more, event_type="Said", event_data="{}", timestamp=WHEN))
        for one in (event_id, more):
            assert connection.scalar(select(by_text.c.id).where(by_text.c.id == one)) == one
            assert connection.scalar(select(by_hex.c.id).where(by_hex.c.id == one)) is None
    assert sorted(handled(empty)) == sorted([event_id, more])


def _orm_table(kind: Any) -> Table:
    names = ("event_type", "event_data", "timestamp")
    return Table("event_store", MetaData(), Column("id", kind, primary_key=True), *(Column(one, Text) for one in names))
