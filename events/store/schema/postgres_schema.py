"""The PostgreSQL schema of the ledger's tables: the one that EVENTS_SCHEMA names, or the one that the search path
finds.

All ledgers of a process share SQLAlchemy's Table objects, and so they share the schema.
"""

import threading
from weakref import WeakSet

from sqlalchemy import Connection, inspect, text

from events.errors import ConfigurationError
from events.store.tables import metadata

_HAVE_ONE = text(
    "SELECT nspname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace"
    " WHERE relname = :name AND relkind = 'r' AND nspname <> ALL (CAST(:but AS text[])) ORDER BY nspname"
)


class Place:
    """The schema of an open ledger; `schema` is empty where the search path decides."""

    def __init__(self, schema: str) -> None:
        self.schema = schema


_lock = threading.Lock()
_taken: WeakSet[Place] = WeakSet()
_schema = ""


def take(schema: str) -> Place:
    """Let all statements use the tables in this schema from now on.

    Raises:
        ConfigurationError: a ledger in another schema is open in this process.
    """
    global _schema
    with _lock:
        if other := next((place for place in _taken if place.schema != schema), None):
            raise ConfigurationError(
                f"EVENTS_SCHEMA={schema!r}: this process has opened a ledger in the schema {other.schema!r}; one "
                f"process works with one: close that first, or use another process"
            )
        place = Place(schema)
        _taken.add(place)
        _schema = schema
        for table in metadata.tables.values():
            table.schema = schema or None
        return place


def leave(place: Place) -> None:
    """Called when its ledger is closed."""
    with _lock:
        _taken.discard(place)


def schema() -> str | None:
    """The schema that EVENTS_SCHEMA names; "" for none."""
    return _schema or None


def named(table: str) -> str:
    """The qualified name of a table, for a statement that is text."""
    return f'"{_schema}".{table}' if _schema else table


def go_into(connection: Connection) -> None:
    """Put the ledger's schema first in this transaction's search path; make the schema if it doesn't exist."""
    if _schema:
        if not has_schema(connection):  # CREATE SCHEMA IF NOT EXISTS needs a right that the role may lack
            connection.exec_driver_sql(f'CREATE SCHEMA "{_schema}"')
        connection.exec_driver_sql(f'SET LOCAL search_path TO "{_schema}"')


def has_schema(connection: Connection) -> bool:
    """Whether the schema that EVENTS_SCHEMA names exists."""
    return inspect(connection).has_schema(_schema)


def others(connection: Connection, table: str) -> list[str]:
    """The other schemas of this database that have a table of this name."""
    if connection.dialect.name == "sqlite":
        return []
    here = _schema or connection.scalar(text("SELECT current_schema()"))
    return list(connection.scalars(_HAVE_ONE, {"name": table, "but": [here or ""]}))
