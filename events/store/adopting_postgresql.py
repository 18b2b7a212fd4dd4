"""What PostgreSQL needs for events.store.adopting."""

import re
from collections.abc import Iterator

from sqlalchemy import Connection

from events.store.found_table import NAME, FoundColumn, FoundTable

_TEXT, _INTEGER, _JSON = r"TEXT|VARCHAR(\(\d+\))?", "SMALLINT|INTEGER|BIGINT", "JSONB?"
_TIME = r"TIMESTAMP(\(\d\))? WITH(OUT)? TIME ZONE"
_KINDS = {  # what a column may be, and what it has to be for the ledger
    "id": ("UUID", "uuid"),
    "aggregate_id": (_TEXT, "varchar(255)"),
    "event_type": (_TEXT, "varchar(255)"),
    "event_data": (_JSON, "jsonb"),
    "version": (_INTEGER, "integer"),
    "timestamp": (_TIME, "timestamptz"),
    "processed": ("BOOLEAN", "boolean"),
    "created_at": (_TIME, "timestamptz"),
    "schema_version": (_INTEGER, "integer"),
    "metadata": (_JSON, "jsonb"),
}
_DEFAULTS = {"version": "1", "timestamp": "now()", "processed": "false", "created_at": "now()",
             "schema_version": "1", "metadata": "'{}'"}  # fmt: skip
_UTC = r"(Etc/)?(UTC|UCT|GMT|Universal|Zulu|Greenwich)"
_LONGEST = 255


def wrong(connection: Connection, table: FoundTable) -> Iterator[str]:
    """Types that would have to be guessed, or that whoever writes the column might not write any more."""
    zone = str(connection.exec_driver_sql("SHOW timezone").scalar())
    for name, (kinds, ours) in _KINDS.items():
        column = table.columns.get(name)
        if column is None:
            continue
        change = f'ALTER TABLE {NAME} ALTER COLUMN "{name}" TYPE {ours}'
        if not re.fullmatch(kinds, column.kind):
            yield f'{name} is {column.kind}, and has to be {ours}: {change} USING "{name}"::{ours}'
        elif "WITHOUT" in column.kind and not re.fullmatch(_UTC, zone, re.IGNORECASE):
            yield (
                f"{name} is {column.kind}, and the database's own time zone is {zone}, so that nobody can tell which "
                f"zone its times are of; say it: {change} USING \"{name}\" AT TIME ZONE 'UTC'"
            )


def mend(connection: Connection, table: FoundTable) -> None:
    """Types, defaults and NOT NULL as in the first migration, where the table's own are less than that."""
    changes = []
    for name, (_, ours) in _KINDS.items():
        column, default = table.columns.get(name), _DEFAULTS.get(name)
        if column is None:
            changes.append(f"ADD COLUMN {name} {ours} NOT NULL DEFAULT {default}")
            continue
        if kind := _becomes(column):
            changes.append(f'ALTER COLUMN "{name}" TYPE {kind}')
        if default is not None and column.default is None:
            changes.append(f'ALTER COLUMN "{name}" SET DEFAULT {default}')
        if column.nullable and name != "aggregate_id":
            changes.append(f'ALTER COLUMN "{name}" SET NOT NULL')
    if changes:
        connection.exec_driver_sql(f"ALTER TABLE {NAME} {', '.join(changes)}")


def _becomes(column: FoundColumn) -> str:
    """The type that it gets; none if its own will do."""
    if length := re.fullmatch(r"VARCHAR\((\d+)\)", column.kind):
        return f"varchar({_LONGEST})" if int(length[1]) < _LONGEST else ""
    if column.kind == "JSON":
        return f'jsonb USING "{column.name}"::jsonb'
    if column.kind == "SMALLINT":
        return "integer"
    if column.kind.startswith("TIMESTAMP") and column.kind != "TIMESTAMP WITH TIME ZONE":
        return "timestamptz"  # from one without a zone only where that is UTC: then nothing changes but the type
    return ""
