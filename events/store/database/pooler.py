"""Whether a pooler such as PgBouncer is in between, and whether it shares connections of the server among clients.

One query shows a pooler: when a client connects, PostgreSQL tells it the number of the process that serves it (a part
of the key for cancelling). A pooler can't know that number yet, so it makes up one, in every mode. In transaction mode
one process after another serves a client, or one process serves two connected clients; in session mode that never
happens. If a busy pool hides this, a NOTIFY is sent to see whether it is heard, since that is the question.
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
    """How a pooler serves its clients."""

    SESSION = "session"
    TRANSACTION = "transaction"


def pooler_of(engine: Engine) -> Pooler | None:
    """The pooler on the way, or None. If there is one, a second connection is opened to know its mode."""
    if engine.dialect.name == "sqlite":
        return None
    with look(engine) as connection:
        one = _driver_of(connection)
        served_by = _process_of(one)
        if one.info.backend_pid == served_by:
            return None
        with look(engine) as another:
            other = _driver_of(another)
            # Not in turn: two clients that take turns on two connections, which the pooler hands out in turn, would
            # seem to have one each.
            ours, theirs = {served_by}, {_process_of(other)}
            for _ in range(_ROUNDS):
                ours |= {_process_of(one), _process_of(one)}
                theirs |= {_process_of(other)}
            if ours & theirs or len(ours) > 1 or len(theirs) > 1 or not _hears(one, other):
                return Pooler.TRANSACTION
    return Pooler.SESSION


def check_listening(engine: Engine) -> None:
    """Raises ConfigurationError if a LISTEN on this engine's connections would hear nothing."""
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
