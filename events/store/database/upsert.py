"""INSERT that knows what to do about rows that are there already. SQLAlchemy has a statement of its own for each
dialect, both with the same methods: `on_conflict_do_nothing`, `on_conflict_do_update` and `excluded`."""

from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite

_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def insert_into(table: Table, dialect: str) -> "postgresql.Insert | sqlite.Insert":
    """The statement of this dialect: "sqlite" or "postgresql"."""
    statement: postgresql.Insert | sqlite.Insert = _INSERTS[dialect](table)
    return statement
