"""In which schema of PostgreSQL the ledger's tables are: the one that EVENTS_SCHEMA names, or that of the search path.

SQLAlchemy's tables, which all statements are made of, are the process's, and so is the schema.
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
    """Of one ledger that is open; `schema` is empty where the search path decides."""

    def __init__(self, schema: str) -> None:
        self.schema = schema


_lock = threading.Lock()
_taken: WeakSet[Place] = WeakSet()
_schema = ""


def take(schema: str) -> Place:
    """From now on all statements are about the tables in this schema.

    Raises:
        ConfigurationError: a ledger in another one is open in this process.
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
    """Its ledger is closed."""
    with _lock:
        _taken.discard(place)


def schema() -> str | None:
    """The one that EVENTS_SCHEMA names."""
    return _schema or None


def named(table: str) -> str:
    """This table's name, for a statement that is a text."""
    return f'"{_schema}".{table}' if _schema else table


def go_into(connection: Connection) -> None:
    """For this transaction, names without a schema are of the ledger's; it is made if it isn't there."""
    if _schema:
        if not has_schema(connection):  # to make one that is there takes a right that nobody may have
            connection.exec_driver_sql(f'CREATE SCHEMA "{_schema}"')
        connection.exec_driver_sql(f'SET LOCAL search_path TO "{_schema}"')


def has_schema(connection: Connection) -> bool:
    """Whether there is the one that EVENTS_SCHEMA names."""
    return inspect(connection).has_schema(_schema)


def others(connection: Connection, table: str) -> list[str]:
    """Other schemas of this database that have a table of this name."""
    if connection.dialect.name == "sqlite":
        return []
    here = _schema or connection.scalar(text("SELECT current_schema()"))
    return list(connection.scalars(_HAVE_ONE, {"name": table, "but": [here or ""]}))
