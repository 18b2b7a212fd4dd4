"""Whether a pooler such as PgBouncer is in between, and whether it gives others the same connections of the server.

The sign of a pooler costs one query: PostgreSQL tells whoever connects the number of the process that serves him (it is
part of the key for cancelling), and a pooler, which can't know that yet, makes up a number of its own. It does so in
every mode. In transaction mode a client is served by one process and then by another, or two clients, both connected,
by the same; in session mode that never is. Where a busy pool hides that, it is tried whether a NOTIFY is heard, which
is what the question is for.
"""

import secrets
from enum import Enum
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine

from events.errors import ConfigurationError
from events.store.database.engine import look
from events.text import redact

_ROUNDS = 3
_HEARD_WITHIN = 5.0  # seconds


class Pooler(Enum):
    """How it serves its clients."""

    SESSION = "session"
    TRANSACTION = "transaction"


def pooler_of(engine: Engine) -> Pooler | None:
    """None if there is none. Opens a second connection if there is one."""
    if engine.dialect.name == "sqlite":
        return None
    with look(engine) as connection:
        one = _driver_of(connection)
        served_by = _process_of(one)
        if one.info.backend_pid == served_by:
            return None
        with look(engine) as another:
            other = _driver_of(another)
            # Not in turn: two that take turns on two connections, of which the pooler hands out each in its turn, would
            # seem to have one each.
            ours, theirs = {served_by}, {_process_of(other)}
            for _ in range(_ROUNDS):
                ours |= {_process_of(one), _process_of(one)}
                theirs |= {_process_of(other)}
            if ours & theirs or len(ours) > 1 or len(theirs) > 1 or not _hears(one, other):
                return Pooler.TRANSACTION
    return Pooler.SESSION


def check_listening(engine: Engine) -> None:
    """Raises ConfigurationError if there is no point in LISTEN on this engine's connections."""
    if pooler_of(engine) is Pooler.TRANSACTION:
        raise ConfigurationError(
            f"EVENTS_LISTEN is on, and EVENTS_DATABASE_URL={redact(engine.url.render_as_string(hide_password=True))} "
            f"leads to a pooler such as PgBouncer in transaction mode, where LISTEN hears nothing and prepared "
            f"statements are somebody else's; set EVENTS_LISTEN=off"
        )


def _driver_of(connection: Connection) -> "psycopg.Connection[Any]":
    driver: Any = connection.connection.driver_connection
    return driver  # type: ignore[no-any-return]


def _process_of(driver: "psycopg.Connection[Any]") -> int:
    found = driver.execute("SELECT pg_backend_pid()", prepare=False).fetchone()  # which it may be unable to do there
    return int(found[0]) if found else 0


def _hears(one: "psycopg.Connection[Any]", other: "psycopg.Connection[Any]") -> bool:
    channel = f"events_probe_{secrets.token_hex(4)}"
    one.execute(f"LISTEN {channel}", prepare=False)
    try:
        other.execute(f"NOTIFY {channel}", prepare=False)
        return any(one.notifies(timeout=_HEARD_WITHIN, stop_after=1))
    finally:
        one.execute(f"UNLISTEN {channel}", prepare=False)
