"""Checks the options in EVENTS_DATABASE_URL: drivers ignore wrong ones, or their errors name no setting."""

import difflib

from psycopg import pq
from sqlalchemy import URL

from events.errors import ConfigurationError

_OF_SQLALCHEMY = {"host", "port"}  # they may occur several times
_OF_SQLITE = {"timeout", "check_same_thread", "cached_statements", "uri"}
_OF_THE_DRIVER = {"prepare_threshold", "autocommit", "row_factory", "cursor_factory", "context"}


def check_options(url: URL) -> None:
    """Raises ConfigurationError, with the cure, for an option that this database's driver doesn't know."""
    if url.get_backend_name() == "sqlite":
        for name in url.query.keys() - _OF_SQLITE:
            if "uri" not in url.query:  # SQLite parses such a URI itself
                raise ConfigurationError(f"EVENTS_DATABASE_URL: {name!r} is no option of an SQLite file; remove it")
        return
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()} | _OF_SQLALCHEMY
    for name in url.query:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1)
        cure = f"did you mean {near[0]}?" if near else "remove it"
        if name in _OF_THE_DRIVER or name == "pgbouncer":
            cure = "remove it; behind PgBouncer in transaction mode set EVENTS_LISTEN=off"
        elif name in ("schema", "search_path", "currentSchema"):
            cure = "for a schema say options=-csearch_path%3DNAME"
        elif name == "ssl":
            cure = "say sslmode=require"
        raise ConfigurationError(f"EVENTS_DATABASE_URL: {name!r} is no option of a connection to PostgreSQL; {cure}")
