"""URLs in settings: as people write them, and as SQLAlchemy and kombu read them."""

import re
from urllib.parse import quote, unquote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

_SEVERAL_HOSTS = re.compile(
    r"(?P<scheme>[^:/]+://)(?P<user>[^/?]*@)?(?P<hosts>[^/?@]*,[^/?@]*)(?P<rest>/[^?]*)?(?:\?(?P<options>.*))?"
)
ASYNC_DRIVERS = ("asyncpg", "aiosqlite")  # a URL may name one: then handlers with SQL are `async def`
BROKERS = ("redis", "rediss", "amqp", "amqps")


def database_url(value: str) -> str:
    """EVENTS_DATABASE_URL as SQLAlchemy takes it. Raises ValueError, with the cure."""
    try:
        url = make_url(one_host(value.strip()))
    except (ArgumentError, ValueError):
        raise ValueError("is no URL; use postgresql://user@host/name or sqlite:///file.db") from None
    backend = url.get_backend_name()
    if backend != "sqlite" and is_cut_short(value):
        raise ValueError("has more than one '@': write what is in a password as %40 (and / as %2F, ? as %3F)")
    driver = url.get_driver_name() if "+" in url.drivername else ""
    if backend in ("postgres", "postgresql"):
        driver = driver if driver == "asyncpg" else "psycopg"
        return unspaced(url.set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False))
    if backend != "sqlite":
        raise ValueError(f"{backend} is not supported; use postgresql://... or sqlite:///file.db")
    if url.database in (None, "", ":memory:") or "mode=memory" in value:
        raise ValueError("an SQLite database in memory can't be shared by processes; use sqlite:///file.db")
    return url.set(drivername="sqlite+aiosqlite" if driver == "aiosqlite" else "sqlite").render_as_string(
        hide_password=False
    )


def ledger_url(value: str) -> URL:
    """The URL for the ledger's own engine, which is synchronous whatever driver the setting names."""
    url = make_url(value)
    return url.set(drivername="sqlite" if url.get_backend_name() == "sqlite" else "postgresql+psycopg")


def broker_url(value: str) -> str:
    """EVENTS_BROKER_URL as kombu takes it; "" for none. Raises ValueError, with the cure."""
    value = value.strip()
    scheme = value.partition("://")[0] if "://" in value else ""
    if value and scheme not in BROKERS:
        raise ValueError(f"use {'://, '.join(BROKERS)}:// or leave it empty for no broker")
    if value and not re.match(r"^\w+://[^/?#]", value):
        raise ValueError(f"names no host; use {scheme}://host:port/")
    port = re.search(r":(\d+)(?:[/?#]|$)", value.rpartition("@")[2] or value)
    if port and not 0 < int(port[1]) < 65536:
        raise ValueError(f"{port[1]} is no port; use 1 to 65535")
    if scheme.startswith("redis") and (number := path_of(value)) and not re.fullmatch(r"\s*\d+\s*", number):
        raise ValueError(f"{number} is no number of a database; use {scheme}://host:6379/0")
    return unspaced(value)


def one_host(url: str) -> str:
    """The URL as SQLAlchemy reads it: several hosts, as libpq has them (`//user@db1:5432,db2/name`), are options."""
    found = _SEVERAL_HOSTS.fullmatch(url)
    if found is None:
        return url
    options = [f"host={host}" for host in found["hosts"].split(",")] + ([found["options"]] if found["options"] else [])
    return f"{found['scheme']}{found['user'] or ''}{found['rest'] or '/'}?{'&'.join(options)}"


def unspaced(url: str) -> str:
    """The URL with its spaces percent-encoded: a password with a space would be redacted only in part."""
    return re.sub(r"\s", lambda found: quote(found[0]), url)


def is_cut_short(url: str) -> bool:
    """Whether SQLAlchemy ends the password at an @ within it, and takes the rest of the password for a host."""
    found = re.match(r"[^:/]*(?::[^@]*)?@(?P<where>[^?]*)(?:\?(?P<options>.*))?", url.partition("://")[2])
    if found is None:
        return False
    names = [option.partition("=")[0] for option in (found["options"] or "").split("&")]
    return any("@" in part for part in (found["where"], *names))


def path_of(url: str) -> str:
    """The path of the URL without its one or two leading slashes, as kombu reads it; of several URLs the first's."""
    found = re.match(r"[^/?#]*//?([^?#;]*)", url.partition("://")[2].rpartition("@")[2])
    return unquote(found[1]) if found else ""
