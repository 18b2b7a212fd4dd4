"""The part of `adopting` that is PostgreSQL's."""

import re
from collections.abc import Iterator

from sqlalchemy import Connection

from events.store.schema.foreign_table import NAME, FoundColumn, FoundTable

_TEXT, _INTEGER, _JSON = r"TEXT|VARCHAR(\(\d+\))?", "SMALLINT|INTEGER|BIGINT", "JSONB?"
_TIME = r"TIMESTAMP(\(\d\))? WITH(OUT)? TIME ZONE"
_KINDS = {  # the types that a column may have, and the type that the ledger needs
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
_DEFAULTS = {
    "version": "1",
    "timestamp": "now()",
    "processed": "false",
    "created_at": "now()",
    "schema_version": "1",
    "metadata": "'{}'",
}
_UTC = r"(Etc/)?(UTC|UCT|GMT|Universal|Zulu|Greenwich)"
_SESSION = "SELECT setting, source FROM pg_catalog.pg_settings WHERE name = 'TimeZone'"
_SETTINGS = f"""
    SELECT coalesce(rolname, ''), coalesce(datname, ''), substr(one, strpos(one, '=') + 1)
    FROM pg_catalog.pg_db_role_setting
    CROSS JOIN unnest(setconfig) one
    LEFT JOIN pg_catalog.pg_database ON pg_database.oid = setdatabase
    LEFT JOIN pg_catalog.pg_roles ON pg_roles.oid = setrole
    WHERE lower(split_part(one, '=', 1)) = 'timezone'
        AND (setdatabase = 0 OR datname = current_database())
        AND (setrole = 0 OR has_table_privilege(setrole, to_regclass('{NAME}')::oid, 'INSERT'))
    ORDER BY 1, 2
"""  # of roles that may have written the rows
_LONGEST = 255


def wrong(connection: Connection, table: FoundTable) -> Iterator[str]:
    """Columns whose type would have to be guessed, or couldn't be written by their program after a change."""
    doubt = _doubt(connection)
    for name, (kinds, ours) in _KINDS.items():
        column = table.columns.get(name)
        if column is None:
            continue
        change = f'ALTER TABLE {NAME} ALTER COLUMN "{name}" TYPE {ours}'
        if not re.fullmatch(kinds, column.kind):
            yield f'{name} is {column.kind}, and has to be {ours}: {change} USING "{name}"::{ours}'
        elif "WITHOUT" in column.kind and doubt:
            yield (
                f"{name} is {column.kind}, and {doubt}, so that nobody can tell which zone its times are of; say it: "
                f"{change} USING \"{name}\" AT TIME ZONE 'UTC'"
            )


def _doubt(connection: Connection) -> str:
    """Why times without a zone may not be UTC; none if every role that may have written them uses UTC.

    The zone of this session may come from its client alone, while the database or a writer's role have another.
    """
    zone, source = connection.exec_driver_sql(_SESSION).one()
    if not _is_utc(zone):
        return f"the database's own time zone is {zone}"
    settings = connection.exec_driver_sql(_SETTINGS).all()
    for role, database, value in settings:
        if not _is_utc(value):
            whose = " of ".join(filter(None, (role and f"role {role}", database and f"database {database}")))
            return f"the time zone of {whose or 'all roles'} is {value}"
    if source == "client" and not any(not role for role, _, _ in settings):
        return f"that its time zone is {zone} is what this process says (PGTZ, or the URL), and not the database"
    return ""


def _is_utc(zone: str) -> bool:
    return re.fullmatch(_UTC, zone, re.IGNORECASE) is not None


def mend(connection: Connection, table: FoundTable) -> None:
    """Give the columns the types, defaults and NOT NULL of the first migration, where they have less."""
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
    """The type that the column gets; None if its own type will do."""
    if length := re.fullmatch(r"VARCHAR\((\d+)\)", column.kind):
        return f"varchar({_LONGEST})" if int(length[1]) < _LONGEST else ""
    if column.kind == "JSON":
        return f'jsonb USING "{column.name}"::jsonb'
    if column.kind == "SMALLINT":
        return "integer"
    if column.kind.startswith("TIMESTAMP") and column.kind != "TIMESTAMP WITH TIME ZONE":
        return "timestamptz"  # a type without a zone is changed only where the zone is UTC: the values stay the same
    return ""
