"""For the env.py of an application's own Alembic: keeps the ledger's tables out of autogenerate.

    from events.alembic import include_object

    context.configure(connection=connection, target_metadata=target_metadata, include_object=include_object)

Without it `alembic revision --autogenerate` drops the ledger's tables, since the application has no models for them.
"""

from typing import Any

from alembic import context
from sqlalchemy import Connection, inspect, text

from events.store import VERSION_TABLE, metadata

_OURS = {*metadata.tables, VERSION_TABLE}
_SCHEMA_OF = text(
    "SELECT coalesce((SELECT nspname FROM pg_catalog.pg_namespace JOIN pg_catalog.pg_class ON relnamespace ="
    " pg_namespace.oid WHERE pg_class.oid = to_regclass(CAST(:name AS text))), current_schema())"
)


def include_object(object_: Any, name: str | None, type_: str, reflected: bool, compare_to: Any) -> bool:  # noqa: ARG001
    """Whether autogenerate compares this: False for the ledger's tables and what belongs to them.

    A table is the ledger's if it has the name of one and its schema has a ledger. So is an `event_store` that
    `events migrate` has adopted, even if you have a model for it. Tables of the same name elsewhere are yours.

    Beside a function of your own: `return include_object(object_, name, type_, reflected, compare_to) and ...`.

    Args:
        object_, name, type_, reflected, compare_to: as Alembic's option `include_object` has them.
    """
    table = object_ if type_ == "table" else getattr(object_, "table", None)
    return not _is_ours(getattr(table, "name", None), getattr(table, "schema", None))


def _is_ours(name: str | None, schema: str | None) -> bool:
    if name not in _OURS:
        return False
    connection = _connection()
    if connection is None:  # offline: the ledger is assumed in the default schema
        return schema is None
    if schema is None and connection.dialect.name == "postgresql":  # the search_path decides
        schema = connection.scalar(_SCHEMA_OF, {"name": name})
    return inspect(connection).has_table(VERSION_TABLE, schema=schema)


def _connection() -> Connection | None:
    """The connection that env.py configured; None if there is no env.py."""
    try:
        return context.get_context().connection
    except Exception:  # it has no class of its own
        return None
