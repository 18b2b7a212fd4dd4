"""The names in a PostgreSQL database that affect the transaction when a statement uses them: functions that call
set_config() or the like, tables whose triggers do, views that call those functions.

The settings that a function changes can't be seen from outside, but its source can be read: this module does, once a
minute.
"""

import re
import threading
import time

from sqlalchemy import Connection, Engine, text

from events.store.database.engine import look
from events.store.database.statement_effects import IN_BODIES, Touch, touch_of_body

_EVERY = 60.0  # seconds
_DEPTH = 5  # functions that call functions that call ...
_OURS = "nspname NOT IN ('pg_catalog', 'information_schema') AND nspname NOT LIKE 'pg\\_%'"
_FUNCTIONS = f"""
    SELECT lower(proname), {{source}} FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
    JOIN pg_language ON pg_language.oid = prolang
    WHERE {_OURS} AND lanname NOT IN ('c', 'internal') AND {{source}} ~* :pattern
"""
_TRIGGERS = f"""
    SELECT lower(relname), lower(proname) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    JOIN pg_namespace ON pg_namespace.oid = relnamespace JOIN pg_proc ON pg_proc.oid = tgfoid
    WHERE NOT tgisinternal AND {_OURS} AND lower(proname) = ANY(:names)
"""
# A write to the first table is a write to the second: a partition, or a foreign key's ON DELETE and ON UPDATE.
_TABLES = """
    SELECT lower(parent.relname), '' FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
    JOIN pg_class parent ON parent.oid = inhparent WHERE lower(child.relname) = ANY(:names)
    UNION SELECT lower(parent.relname), '' FROM pg_constraint JOIN pg_class child ON child.oid = conrelid
    JOIN pg_class parent ON parent.oid = confrelid
    WHERE contype = 'f' AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))
    AND lower(child.relname) = ANY(:names)
"""
_VIEWS = f"""
    SELECT lower(viewname), '' FROM pg_views JOIN pg_namespace ON nspname = schemaname
    WHERE {_OURS} AND definition ~* :pattern
"""


class Catalog:
    """The names of one database. Threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._on_postgresql = engine.dialect.name == "postgresql"
        self._lock = threading.Lock()
        self._names: dict[str, Touch] = {}
        self._next = 0.0

    def names(self) -> dict[str, Touch]:
        """The effect of each name, in lower case. The database is asked now and then."""
        if self._on_postgresql and time.monotonic() >= self._next:
            with self._lock:
                if time.monotonic() >= self._next:
                    with look(self._engine) as connection:
                        self._names = _read(connection)
                    self._next = time.monotonic() + _EVERY
        return self._names


def _read(connection: Connection) -> dict[str, Touch]:
    version = connection.dialect.server_version_info or (0,)
    source = "coalesce(nullif(prosrc, ''), pg_get_function_sqlbody(pg_proc.oid), '')" if version >= (14,) else "prosrc"
    functions = text(_FUNCTIONS.format(source=source))
    names: dict[str, Touch] = {}
    found = {name: touch_of_body(body) for name, body in connection.execute(functions, {"pattern": IN_BODIES})}
    for _ in range(_DEPTH):
        if not found:
            break
        names |= found
        pattern = rf"\m({'|'.join(map(re.escape, found))})\M"  # a quoted name may have any character
        worst = max(found.values())
        callers = [
            *connection.execute(functions, {"pattern": pattern}),
            *connection.execute(text(_VIEWS), {"pattern": pattern}),
            *connection.execute(text(_TRIGGERS), {"names": list(found)}),
            *connection.execute(text(_TABLES), {"names": list(found)}),
        ]
        found = {name: worst for name, _ in callers if name not in names}
    return names
