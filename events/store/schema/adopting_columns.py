"""`metadata` and `schema_version` in an `event_store` of another program, where they may have another meaning.

Every row whose `metadata` or `schema_version` workers can't read would become a dead letter.
"""

import re
from collections.abc import Iterator

from sqlalchemy import Connection

from events.store.schema.foreign_table import NAME, FoundTable

_PLAIN_DEFAULT = r"[('\s]*1[)'\s]*(::\w+)?"  # as a database writes the default: 1, '1', ('1'::smallint)
# An unset text is empty; null is no id.
_NO_METADATA = {
    "postgresql": """
        jsonb_typeof(metadata::jsonb) <> 'object'
        OR jsonb_typeof(metadata::jsonb -> 'correlation_id') NOT IN ('string', 'null')
        OR jsonb_typeof(metadata::jsonb -> 'causation_id') NOT IN ('string', 'null')
    """,
    "sqlite": """
        metadata <> '' AND CASE WHEN json_valid(CAST(metadata AS TEXT)) THEN
            json_type(CAST(metadata AS TEXT)) <> 'object'
            OR json_type(CAST(metadata AS TEXT), '$.correlation_id') NOT IN ('text', 'null')
            OR json_type(CAST(metadata AS TEXT), '$.causation_id') NOT IN ('text', 'null')
        ELSE true END
    """,
}


def of_another_meaning(connection: Connection, table: FoundTable, *, leave: bool) -> Iterator[str]:
    """Values of `metadata` and `schema_version` that workers couldn't read. `leave`: as in `adopting`."""
    if "metadata" in table.columns:
        count, example = _rows(connection, _NO_METADATA[connection.dialect.name])
        if count:
            yield (
                f"{count} rows have metadata that is no JSON object, or where correlation_id or causation_id is no "
                f"text, for example that of id {example}: ALTER TABLE {NAME} RENAME COLUMN metadata TO ..., and we add "
                f"our own"
            )
    if (column := table.columns.get("schema_version")) is None:
        return
    rename = f"ALTER TABLE {NAME} RENAME COLUMN schema_version TO ..., and we add our own"
    if column.default and not re.fullmatch(_PLAIN_DEFAULT, column.default):
        yield f"schema_version has the default {column.default}, and with us it says 1 of new events: {rename}"
    elif not leave:  # events that are left are never read
        count, example = _rows(connection, "processed IS NOT true AND schema_version <> 1")
        if count:
            yield (
                f"{count} rows that are not processed have another schema_version than 1, for example id {example}, "
                f"as if newer code than any here had written them: {rename}; or UPDATE {NAME} SET schema_version = 1 "
                f"WHERE processed IS NOT true"
            )


def _rows(connection: Connection, where: str) -> tuple[int, str]:
    """The number of such rows, and the id of one."""
    query = f"SELECT count(*), min(CAST(id AS VARCHAR)) FROM {NAME} WHERE {where}"
    count, example = connection.exec_driver_sql(query).one()
    return count, str(example)
