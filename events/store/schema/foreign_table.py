"""Reads an `event_store` that another program has made. See `adopting`."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import CompileError, SAWarning

from events.store.schema.postgres_schema import schema
from events.store.tables import event_store

NAME = event_store.name
PUBLIC = ("id", "aggregate_id", "event_type", "event_data", "version", "timestamp", "processed", "created_at")
FIRST = (*PUBLIC, "schema_version", "metadata")  # of the first migration


@dataclass(frozen=True, slots=True)
class FoundColumn:
    """`kind`: its type as the database writes it, in capitals. `generated`: the database computes its value."""

    name: str
    kind: str
    nullable: bool
    default: str | None
    generated: bool


@dataclass(frozen=True, slots=True)
class FoundTable:
    """`indexes`: columns by index name, none for an index of expressions; `uniques`: those that are unique, or more."""

    columns: Mapping[str, FoundColumn]
    key: Sequence[str]
    indexes: Mapping[str, Sequence[str]]
    uniques: Mapping[str, Sequence[str]]


def schema_of(connection: Connection) -> str | None:
    """The schema in which CREATE TABLE makes tables."""
    if connection.dialect.name == "sqlite":
        return None
    if schema() is not None:
        return schema()
    found: str | None = connection.exec_driver_sql("SELECT current_schema()").scalar()
    return found


def is_there(connection: Connection) -> bool:
    """Whether there is a table or a view of that name."""
    return inspect(connection).has_table(NAME, schema=schema_of(connection))


def read(connection: Connection) -> FoundTable:
    """The table as it is. Raises SchemaError for a view or another kind of relation."""
    inspector, schema = inspect(connection), schema_of(connection)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # about types and indexes that SQLAlchemy doesn't know
        columns = inspector.get_columns(NAME, schema)
        indexes = inspector.get_indexes(NAME, schema)
        constraints = inspector.get_unique_constraints(NAME, schema)
        key = inspector.get_pk_constraint(NAME, schema)["constrained_columns"]
    named = {str(one["name"]): [name or "" for name in one["column_names"]] for one in indexes}
    uniques = {str(one["name"]): named[str(one["name"])] for one in indexes if one["unique"]}
    uniques |= {str(one["name"] or "UNIQUE"): one["column_names"] for one in constraints}
    return FoundTable({one["name"]: _column(one, connection) for one in columns}, key, named, uniques)


def _column(found: Any, connection: Connection) -> FoundColumn:
    try:
        kind = found["type"].compile(dialect=connection.dialect)
    except CompileError:
        kind = "of a type that is not known here"
    default = found.get("default") or ("identity" if found.get("identity") else None)
    return FoundColumn(found["name"], kind.upper(), found["nullable"], default, bool(found.get("computed")))
