"""The settings of a PostgreSQL session that we rely on, and that a database or a role may have changed.

They are not start-up options, which PgBouncer refuses. PgBouncer keeps DateStyle for each of its clients; other
settings, made behind it in transaction mode, would reach other clients, so none are made. `search_path` is left alone,
which says where the tables are, and so is `default_transaction_read_only`, by which hosts keep a full disk from
growing.
"""

from collections.abc import Callable
from typing import Any

from events.store.database.watched_postgres import WatchedPostgres

_ISO = "SET DateStyle = 'ISO'"
_READ_COMMITTED = "SET default_transaction_isolation = 'read committed'"  # for statements without a BEGIN


def set_up_session(*, alone: bool) -> Callable[[Any, Any], None]:
    """A listener for new connections of psycopg. `alone`: no PgBouncer is in between."""

    def set_up(connection: Any, _: Any) -> None:
        wanted = [_READ_COMMITTED] if alone else []
        if not (connection.info.parameter_status("DateStyle") or "ISO").startswith("ISO"):
            wanted.append(_ISO)
        if alone and not wanted:
            return
        before, connection.autocommit = connection.autocommit, True
        if wanted:
            connection.execute("; ".join(wanted))
        if not alone and isinstance(connection, WatchedPostgres):
            (process,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
            connection.watch.pooled = process != connection.info.backend_pid  # see events.store.database.pooler
        connection.autocommit = before

    return set_up
