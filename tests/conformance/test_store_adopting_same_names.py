"""An `event_store` that is there already, with columns that are called as ours are and mean something else."""

import re

import pytest

from events.errors import SchemaError
from events.store import migrate
from support.foreign_table import both_publish, handled, made, row
from support.store import Store

STRANGE = {"schema_version": [2, 0, -1], "metadata": [
    "[]", "1", '"x"', "null", '{"correlation_id": 7}', '{"correlation_id": {"a": 1}}', '{"causation_id": ["x"]}',
]}  # fmt: skip
STRANGE_ON_SQLITE = {"schema_version": ["one"], "metadata": ["no JSON", 7, b"{}}"]}


@pytest.mark.parametrize("column", STRANGE)
def test_columns_of_our_names_and_another_meaning_are_not_adopted(empty: Store, column: str) -> None:
    # Given a column that is called as one of ours, and rows of which no worker could read that
    made(empty, metadata="JSONB", schema_version="INTEGER")
    values = STRANGE[column] + (STRANGE_ON_SQLITE[column] if empty.sqlite else [])
    ids = [row(empty, **{column: value}) for value in values]
    row(empty, metadata=None, schema_version=None)
    row(empty, metadata='{"correlation_id": null, "causation_id": "x", "tenant": 7}', schema_version=1)
    # When the table is adopted, then it is said how many there are, which one for example, and what to do
    with pytest.raises(SchemaError, match=f"adopted: {len(ids)} rows .*example .*id ({'|'.join(map(str, ids))})") as no:
        migrate(empty.ledger.engine)
    (cure,) = re.findall(r"ALTER TABLE event_store RENAME COLUMN .*? TO \.\.\.", str(no.value))
    # And when that is done, then all are handled
    empty.foreign(cure.replace("...", "tenant"))
    migrate(empty.ledger.engine)
    assert len(handled(empty)) == len(ids) + 2
    both_publish(empty)


def test_a_version_of_another_meaning_can_be_set_to_one(empty: Store) -> None:
    made(empty, schema_version="INTEGER")
    done, waits = row(empty, schema_version=3, processed=True), row(empty, schema_version=3)
    with pytest.raises(SchemaError, match="1 rows that are not processed have another schema_version") as no:
        migrate(empty.ledger.engine)
    empty.foreign(re.findall(r"UPDATE event_store .* IS NOT true", str(no.value))[0])
    migrate(empty.ledger.engine)
    assert done not in (found := handled(empty))
    assert found == [waits]


def test_a_version_of_another_meaning_does_not_matter_where_all_is_left(empty: Store) -> None:
    made(empty, schema_version="INTEGER DEFAULT 1")
    row(empty, schema_version=3)
    migrate(empty.ledger.engine, leave_existing=True)
    both_publish(empty)


@pytest.mark.parametrize("default", ["3", "'2'"])
def test_new_events_may_have_no_other_version_than_one(empty: Store, default: str) -> None:
    made(empty, schema_version=f"INTEGER DEFAULT {default}")
    with pytest.raises(SchemaError, match=r"schema_version has the default .* RENAME COLUMN schema_version"):
        migrate(empty.ledger.engine)
