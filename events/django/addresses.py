"""A database of Django's as a URL: with it workers and commands, which have connections of their own, find it."""

from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from psycopg import pq
from sqlalchemy import URL

from events.errors import ConfigurationError

IN_MEMORY = "sqlite:///a-database-in-memory.db"  # stands for one, in processes that have Django's connection alone


def url_of(wrapper: Any) -> str:
    """The URL of the database of Django's wrapper `connections[alias]`.

    Raises:
        ConfigurationError: a ledger can't be in such a database.
    """
    if wrapper.vendor == "sqlite":
        return IN_MEMORY if wrapper.is_in_memory_db() else _of_file(str(wrapper.settings_dict["NAME"]))
    if wrapper.vendor == "postgresql":
        return _of_postgresql(wrapper)
    raise ConfigurationError(
        f"DATABASES[{wrapper.alias!r}] is {wrapper.settings_dict.get('ENGINE') or 'not set'}, and the ledger needs "
        f"PostgreSQL or SQLite; name the alias of such a database: EVENTS = {{'DATABASE': ...}}"
    )


def _of_file(name: str) -> str:
    if name.startswith("file:"):
        path, _, options = name.partition("?")
        return f"sqlite:///{path}?{options + '&' if options else ''}uri=true"
    return URL.create("sqlite", database=str(Path(name).absolute())).render_as_string()


def _of_postgresql(wrapper: Any) -> str:
    try:
        given = wrapper.get_connection_params()
    except ImproperlyConfigured as error:
        raise ConfigurationError(f"DATABASES[{wrapper.alias!r}]: {error}") from error
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    options = {
        name: str(value)
        for name, value in given.items()
        if name in known and name not in ("dbname", "user", "password", "host", "port", "client_encoding")
    }
    if role := wrapper.settings_dict["OPTIONS"].get("assume_role"):
        options["options"] = f"{options.get('options', '')} -c role={role}".strip()
    host, port = str(given.get("host", "")), str(given.get("port", ""))
    if host.startswith("/") or "," in host:  # a socket's folder, or several servers
        options["host"] = host
        if port:
            options["port"] = port
        host = port = ""
    return URL.create(
        "postgresql",
        username=given.get("user"),
        password=given.get("password"),
        host=host or None,
        port=int(port) if port else None,
        database=given.get("dbname"),
        query=options,
    ).render_as_string(hide_password=False)
