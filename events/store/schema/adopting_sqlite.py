"""The part of `adopting` that is SQLite's. SQLite can't change a column: the table is made anew."""

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, false, inspect, text

from events.store.database.types import utc_now
from events.store.schema.foreign_table import NAME, FoundTable
from events.store.schema.sqlite_triggers import canonical, is_no_uuid

_ADDED = {"schema_version": "INTEGER NOT NULL DEFAULT 1", "metadata": "TEXT NOT NULL DEFAULT '{}'"}
_DEFAULTS: dict[str, Any] = {
    "version": text("1"),
    "timestamp": utc_now(),
    "processed": false(),
    "created_at": utc_now(),
}
_IS_NO_TRUTH = "processed IS NOT NULL AND processed IS NOT 0 AND processed IS NOT 1"
_INDEXES = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL"
_OF_CONSTRAINTS = """
    SELECT one.name, part.name FROM pragma_index_list(?) one, pragma_index_info(one.name) part
    WHERE one.origin = 'u' ORDER BY one.name, part.seqno
"""
_NEEDED = ("processed", "created_at")  # need defaults: publish() gives no values for them


def wrong(connection: Connection, table: FoundTable) -> Iterator[str]:
    """Values that no UPDATE can mend."""
    kind = table.columns["id"].kind
    if "INT" in kind or "BLOB" in kind:
        yield f"id is {kind}, and has to hold UUIDs as text"
        return
    no_text = f"SELECT id FROM {NAME} WHERE typeof(id) <> 'text' OR {is_no_uuid('id')} LIMIT 1"
    if (row := connection.exec_driver_sql(no_text).first()) is not None:
        yield f"id holds {row[0]!r}, and has to hold UUIDs as text"
        return
    no_truth = f"SELECT DISTINCT processed FROM {NAME} WHERE {_IS_NO_TRUTH} ORDER BY 1 LIMIT 5"
    if found := connection.exec_driver_sql(no_truth).scalars().all():  # such as the 't' and 'f' of a framework
        yield (
            f"processed holds {', '.join(map(repr, found))}, and has to hold 1 or 0: UPDATE {NAME} SET processed = "
            f"processed IN (1, 't', 'true'), or what else is true there; and have its writers write 1 and 0"
        )
    if connection.exec_driver_sql("SELECT 1 FROM pragma_table_list WHERE name = ? AND strict", (NAME,)).first():
        yield "it is STRICT, which has no types for times and JSON; make it anew without that"
    if re.search(r"\bWITHOUT\s+ROWID\b", _made_by(connection, "table")[0], re.IGNORECASE):
        yield "it is made WITHOUT ROWID; make it anew with one"
    if _is_made_anew(table) and (others := _referring(connection)):
        columns = ", ".join(name for name in _NEEDED if table.columns[name].default is None) or "event_type"
        yield f"{columns} can't be changed as long as {', '.join(others)} refers to the table; drop the foreign key"


def mend(connection: Connection, table: FoundTable) -> None:
    """Bring ids into canonical form, add the missing columns, and the defaults that publishers rely on."""
    connection.exec_driver_sql(f"UPDATE {NAME} SET id = {canonical('id')} WHERE id <> {canonical('id')}")
    for name, definition in _ADDED.items():
        if name not in table.columns:
            connection.exec_driver_sql(f"ALTER TABLE {NAME} ADD COLUMN {name} {definition}")
    if not _is_made_anew(table):
        return
    from alembic.migration import MigrationContext  # here: only migrating needs Alembic
    from alembic.operations import Operations

    beside = [*_made_by(connection, "index"), *_made_by(connection, "trigger")]
    uniques = _uniques(connection)
    for (name,) in connection.exec_driver_sql(_INDEXES, (NAME,)).all():
        # Alembic would make the indexes anew by their columns alone: without expressions, orders and collations.
        connection.exec_driver_sql(f"DROP INDEX {_quoted(name)}")
    operations = Operations(MigrationContext.configure(connection))
    with operations.batch_alter_table(NAME, recreate="always") as changing:
        for name, default in _DEFAULTS.items():
            own = table.columns[name].default is not None
            changing.alter_column(name, nullable=False, server_default=False if own else default)
        for name in ("event_type", "event_data"):
            changing.alter_column(name, nullable=False)
    for columns in sorted(uniques - _uniques(connection)):  # SQLAlchemy doesn't see that "quoted" TEXT UNIQUE is unique
        names = ", ".join(map(_quoted, columns))
        name = _quoted("_".join((NAME, "unique", *columns)))
        connection.exec_driver_sql(f"CREATE UNIQUE INDEX {name} ON {NAME} ({names})")
    for statement in beside:
        connection.exec_driver_sql(statement)


def _is_made_anew(table: FoundTable) -> bool:
    return table.columns["event_type"].nullable or any(table.columns[name].default is None for name in _NEEDED)


def _uniques(connection: Connection) -> set[tuple[str, ...]]:
    """The columns of each unique constraint of the table, in their order."""
    found: dict[str, tuple[str, ...]] = {}
    for index, column in connection.exec_driver_sql(_OF_CONSTRAINTS, (NAME,)):
        found[index] = (*found.get(index, ()), column)
    return set(found.values())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _made_by(connection: Connection, kind: str) -> list[str]:
    """The statements that made the table, its triggers, or its indexes except those of constraints."""
    query = text("SELECT sql FROM sqlite_master WHERE type = :kind AND tbl_name = :name AND sql IS NOT NULL")
    return list(connection.scalars(query, {"kind": kind, "name": NAME}))


def _referring(connection: Connection) -> list[str]:
    """Tables with a foreign key to it: their rows would lose their parents while the table is made anew."""
    inspector = inspect(connection)
    return [
        name
        for name in inspector.get_table_names()
        if any(key["referred_table"] == NAME for key in inspector.get_foreign_keys(name))
    ]
