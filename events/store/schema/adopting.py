"""Takes over an `event_store` that another program has made: its rows, defaults, indexes and further columns stay.

Columns that the ledger needs are added, and columns that lose nothing by it are changed; everything that stands in the
way is told in one error. Then the table equals the one that the first migration makes, and the other migrations follow.
Processed events are history, and are never handled.
"""

from collections.abc import Iterator

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError

from events.errors import SchemaError
from events.store.database.availability import is_away, is_contention
from events.store.schema import adopting_postgresql, adopting_sqlite
from events.store.schema.adopting_columns import of_another_meaning
from events.store.schema.foreign_table import FIRST, NAME, PUBLIC, FoundTable, is_there, read, schema_of
from events.store.schema.refusals import reason_of
from events.store.tables import event_store, metadata
from events.text import redact

_DIALECTS = {"postgresql": adopting_postgresql, "sqlite": adopting_sqlite}
_NOW = {"postgresql": "now()", "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now')"}
_FILLS = {  # values for columns that are NULL and must not be
    "event_data": "'null'",
    "version": "1",
    "timestamp": 'coalesce("timestamp", created_at, {now})',
    "processed": "false",
    "created_at": 'coalesce(created_at, "timestamp", {now})',
    "schema_version": "1",
    "metadata": "'{{}}'",
}
_NOT_OWNER = "42501"  # PostgreSQL: insufficient_privilege


def adopt(connection: Connection, *, leave: bool) -> list[str]:
    """Make an existing table the ledger's own. Called before the first migration; mostly there is no table.

    Args:
        leave: whether unprocessed events count as processed; else they are handled, as new events are.
    Returns:
        Lines to log when the transaction is committed; none if there was no table.
    Raises:
        SchemaError: says what stands in the way, and how to mend it.
    """
    tables = set(inspect(connection).get_table_names(schema_of(connection)))
    if taken := sorted(tables & (metadata.tables.keys() - {NAME})):
        raise SchemaError(
            f"the database has {', '.join(taken)} and no record that `events migrate` has made that (its table "
            f"events_schema); rename or drop what is not ours, or restore events_schema"
        )
    if not is_there(connection):
        return []
    try:
        if NAME not in tables:
            raise _refusal(["it is no table; rename it"])
        dialect, table = _DIALECTS[connection.dialect.name], read(connection)
        if missing := [name for name in PUBLIC if name not in table.columns]:
            raise _refusal([f"it has no {', '.join(missing)}"])
        if problems := [*_in_the_way(connection, table), *dialect.wrong(connection, table)]:
            raise _refusal(problems)
        if problems := [*of_another_meaning(connection, table, leave=leave)]:  # by types checked above
            raise _refusal(problems)
        _fill(connection, table)
        for index in _of_our_names(table):
            connection.exec_driver_sql(f'DROP INDEX "{index}"')  # a migration makes this index
        dialect.mend(connection, table)
        total, waiting = connection.exec_driver_sql(
            f"SELECT count(*), count(CASE WHEN NOT processed THEN 1 END) FROM {NAME}"
        ).one()
        if leave:
            connection.exec_driver_sql(f"UPDATE {NAME} SET processed = true WHERE NOT processed")
    except DBAPIError as error:
        if refusal := refusal_by(error):
            raise refusal from error
        raise
    what = "are marked as processed, and left" if leave else "are handled, once a handler has subscribed to their types"
    told = [f"adopted the event_store that was there, with {total} rows; {waiting} of them, not processed, {what}"]
    if same := sorted(name for name, columns in table.indexes.items() if tuple(columns) in _OUR_COLUMNS):
        told.append(f"the ledger has indexes of its own that are the same as {', '.join(same)}: drop yours")
    return told


def refusal_by(error: DBAPIError) -> SchemaError | None:
    """The refusal of a table that couldn't be adopted; None if the database was away or busy, which isn't its fault."""
    if is_away(error) or is_contention(error):
        return None
    owner = getattr(error.orig, "sqlstate", "") == _NOT_OWNER
    cure = "run `events migrate` as the role that owns it" if owner else "mend that"
    return _refusal([redact(reason_of(error))], cure)


_OUR_COLUMNS = {("processed", "timestamp"), ("aggregate_id", "version")}


def _refusal(problems: list[str], cure: str = "mend that, or rename the table") -> SchemaError:
    return SchemaError(f"the database has an event_store that can't be adopted: {'; '.join(problems)}; {cure}")


def _in_the_way(connection: Connection, table: FoundTable) -> Iterator[str]:
    """What stands in the way on both databases."""
    if list(table.key) != ["id"]:
        yield f"its primary key is {', '.join(table.key) or 'missing'}; it has to be id"
    for column in table.columns.values():
        if column.name in FIRST and column.generated:
            yield f"{column.name} is generated; it has to be written"
        elif column.name in event_store.c and column.name not in FIRST:
            yield f"{column.name} is a column of ours that it should not have yet; rename yours"
        elif column.name not in FIRST and not (column.nullable or column.default or column.generated):
            yield f"{column.name} is NOT NULL and has no default, so that nobody else can insert a row; give it one"
    for name, columns in table.uniques.items():
        if "id" not in columns and set(columns) <= {*PUBLIC, ""}:
            told = ", ".join(filter(None, columns)) or "an expression"
            yield f"{name} makes {told} unique, and who counts no versions always writes 1; drop it"
    ours = {str(index.name) for index in event_store.indexes}
    for name in sorted(ours & table.indexes.keys() - set(_of_our_names(table))):
        yield f"an index of another kind is called {name}, as one of ours; rename yours"
    if table.columns["event_type"].nullable:
        count = connection.exec_driver_sql(f"SELECT count(*) FROM {NAME} WHERE event_type IS NULL").scalar()
        if count:
            yield f"{count} rows have no event_type; give them one, or delete them"


def _of_our_names(table: FoundTable) -> list[str]:
    """Indexes with the name and the columns of one of ours."""
    ours = {str(index.name): [column.name for column in index.columns] for index in event_store.indexes}
    return [
        name
        for name, columns in table.indexes.items()
        if name not in table.uniques and ours.get(name) and list(columns) == ours[name]
    ]


def _fill(connection: Connection, table: FoundTable) -> None:
    now = _NOW[connection.dialect.name]
    fills = {
        name: value.format(now=now)
        for name, value in _FILLS.items()
        if name in table.columns and table.columns[name].nullable
    }
    if fills:
        changes = ", ".join(f'"{name}" = coalesce("{name}", {value})' for name, value in fills.items())
        empty = " OR ".join(f'"{name}" IS NULL' for name in fills)
        connection.exec_driver_sql(f"UPDATE {NAME} SET {changes} WHERE {empty}")
