"""Writes events: one plain INSERT in the caller's transaction, sent when publish() is called.

The event shares the fate of the rows that the caller writes beside it: it is committed, rolled back, or undone to a
savepoint with them, by whatever code and in whatever way. The INSERT goes through SQLAlchemy like the caller's
statements, so that a transaction is begun, refused or invalid for the event just as for them.
"""

import re
import time
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Dialect, Engine
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from events.errors import PublishError, SchemaError
from events.ledger import Envelope
from events.store.database.availability import is_read_only
from events.store.database.caller_transaction import is_two_phase, require_transaction, unprepared
from events.store.database.engine import is_away, look, transaction
from events.store.database.lent_transaction import OURS, as_ourselves
from events.store.database.listener import CHANNEL
from events.store.database.types import UtcDateTime
from events.store.idempotent_append import stored, write_once
from events.store.notify import WakeUps
from events.store.schema.ledger_check import LedgerCheck
from events.store.schema.postgres_schema import named, schema
from events.store.schema.refusals import cure_of, reason_of
from events.store.tables import event_store
from events.text import first_line, redact

_TIMESTAMP = UtcDateTime()
_AT_ONCE = 1000  # events in one statement
# For how many seconds a commit in doubt is tried again, and the seconds between two attempts.
_IN_DOUBT, _TRY_EVERY = 10.0, 0.2

_COLUMNS = {  # all values are sent as texts, which every driver passes on unchanged
    "id": "uuid",
    "aggregate_id": "text",
    "event_type": "text",
    "event_data": "jsonb",
    "version": "int",
    "timestamp": "timestamptz",
    "schema_version": "int",
    "metadata": "jsonb",
}
# These options replace those that the caller has set for the statements of this connection.
_PLAIN = OURS | {"preserve_rowcount": True}


class SqlEventLog:
    """The table `event_store` for publishers. Keeps the contract of events.ledger.EventLog.

    Args:
        notify: wake the relays that listen. If False, a pooler may be in between, so that no statement is prepared,
            either.
        check: checks that callers' transactions are in the ledger that `engine` connects to.
    """

    def __init__(self, engine: Engine, *, notify: bool, check: LedgerCheck | None = None) -> None:
        self._engine = engine
        self._notify = notify
        self._check = check or LedgerCheck(engine)
        self._wake_ups = WakeUps()

    def begin(self) -> AbstractContextManager[Connection]:
        return transaction(self._engine)

    def append_alone(self, envelopes: Sequence[Envelope]) -> None:
        deadline: float | None = None
        in_doubt = False
        while True:
            begun = False
            try:
                # On PostgreSQL a single statement is its own transaction: one round trip, durable when it is answered.
                # Several events need a transaction, so that none is stored if one is refused.
                at_once = self._engine.dialect.name == "postgresql" and len(envelopes) == 1
                with look(self._engine) if at_once else self.begin() as connection:
                    begun = True
                    self._write(connection, envelopes)
                return
            except DBAPIError as error:
                if not is_away(error) or (deadline is None and not begun):
                    raise
                # A database that only reads has refused, which leaves no doubt.
                in_doubt = in_doubt or (begun and not is_read_only(error))
                deadline = deadline or time.monotonic() + _IN_DOUBT
                if time.monotonic() > deadline:
                    if not in_doubt:
                        raise PublishError(_refused(error, self._engine, "the database only reads")) from error
                    raise PublishError(
                        f"the database went away while {len(envelopes)} events were committed, so it is not known "
                        f"whether they were; publishing the same event objects again is safe: {_first_line(error)}"
                    ) from error
                time.sleep(_TRY_EVERY)

    def append(self, connection: Connection, envelopes: Sequence[Envelope]) -> None:
        require_transaction(connection)
        with nullcontext() if self._notify else unprepared(connection):
            with as_ourselves(connection):
                tables = self._write(connection, envelopes)
            for table in tables:
                self._check.see(connection, table)

    def stored(self, connection: Connection, ids: Collection[UUID]) -> dict[UUID, Envelope]:
        return stored(connection, ids)

    def _write(self, connection: Connection, envelopes: Sequence[Envelope]) -> Collection[int]:
        """Return the tables in which the events are now: in PostgreSQL, the search path decides that for each
        statement.
        """
        tables = set[int]()
        try:
            write_once(connection, envelopes, lambda new: self._insert(connection, new, tables))
        except (OperationalError, ProgrammingError) as error:
            raise _explained(error, connection) from error
        return tables

    def _insert(self, connection: Connection, envelopes: Sequence[Envelope], tables: set[int]) -> Collection[UUID]:
        """Return the ids of the events that were not there; add their tables to `tables`."""
        if len(envelopes) > _AT_ONCE:
            parts = (envelopes[start : start + _AT_ONCE] for start in range(0, len(envelopes), _AT_ONCE))
            return [written for part in parts for written in self._insert(connection, part, tables)]
        rows = [_texts(envelope, connection) for envelope in envelopes]
        values = tuple(value for row in rows for value in row)
        if len(rows) > 1 and connection.dialect.name == "postgresql":
            values = tuple(_array(column) for column in zip(*rows, strict=True))
        mark = _mark(connection.dialect)
        count = len(rows) if mark == "?" else min(len(rows), 2)
        statement = _statement(named(event_store.name), mark, count, self._wakes(connection))
        with connection.exec_driver_sql(statement, values, execution_options=_PLAIN) as result:
            if mark == "?":
                tables.add(0)  # SQLite has one table of this name
                if len(rows) == 1:
                    return [envelopes[0].id] if result.rowcount == 1 else []
                return [UUID(str(row[0])) for row in result]
            written = result.all()
        tables.update(row[0] for row in written)
        if len(rows) == 1:
            return [envelopes[0].id] * len(written)
        return [row[1] if isinstance(row[1], UUID) else UUID(row[1]) for row in written]

    def _wakes(self, connection: Connection) -> bool:
        if not self._notify or connection.dialect.name != "postgresql" or is_two_phase(connection):
            return False
        return self._wake_ups.take()


def _mark(dialect: Dialect) -> str:
    """Return the driver's notation for a parameter."""
    if dialect.name == "sqlite":
        return "?"
    return "$" if dialect.driver == "asyncpg" else "%s"


@lru_cache(64)
def _statement(table: str, mark: str, count: int, wakes: bool) -> str:
    """Return the INSERT. An INSERT of several events returns the ids that were new.

    On PostgreSQL it takes an array for each column, and returns the table, too.
    """
    into = f"INSERT INTO {table} ({', '.join(_COLUMNS)})"
    once = "ON CONFLICT (id) DO NOTHING"
    if mark == "?":
        row = f"({', '.join('?' * len(_COLUMNS))})"
        return f"{into} VALUES {', '.join([row] * count)} {once}" + (" RETURNING id" if count > 1 else "")
    array = "[]" if count > 1 else ""
    given = ", ".join(
        f"{f'${place}' if mark == '$' else mark}::text::{kind}{array}"
        for place, kind in enumerate(_COLUMNS.values(), 1)
    )
    rows = f"SELECT * FROM unnest({given})" if count > 1 else f"VALUES ({given})"
    # The notification is part of the statement, so that it costs no round trip; relays get it when the transaction has
    # committed.
    told = ["tableoid"] + (["id"] if count > 1 else []) + ([f"pg_notify('{CHANNEL}', '')"] if wakes else [])
    return f"{into} {rows} {once} RETURNING {', '.join(told)}"


def _texts(envelope: Envelope, connection: Connection) -> tuple[Any, ...]:
    return (
        str(envelope.id),
        envelope.aggregate_id,
        envelope.event_type,
        envelope.event_data,
        str(envelope.version),
        str(_TIMESTAMP.process_bind_param(envelope.timestamp, connection.dialect)),
        str(envelope.schema_version),
        envelope.metadata,
    )


def _array(values: Sequence[str]) -> str:
    """Write an array of texts as PostgreSQL does: drivers take five times as long for JSON, because of its quotes."""
    whole = "\0".join(values)
    if whole.count("\0") >= len(values):
        return whole  # a value has a NUL of its own: the driver refuses it
    return '{"' + whole.replace("\\", "\\\\").replace('"', '\\"').replace("\0", '","') + '"}'


def _first_line(error: DBAPIError) -> str:
    return redact(first_line(error.orig))


def _refused(error: DBAPIError, engine: Engine, why: str) -> str:
    cure = cure_of(error, engine.url.username)
    return f"{why}, so nothing was stored: {redact(reason_of(error))}" + (f"; {cure}" if cure else "")


def _missing_right(text: str, role: str) -> str:
    """Return the GRANT to run if our own statement was refused, rather than a statement of a trigger of the
    application.
    """
    table = f"GRANT SELECT, INSERT ON {named(event_store.name)} TO {role}"
    if re.search(r"permission denied for (?:table|relation) event_store\b", text):
        return table
    refused = re.search(r"permission denied for schema (\S+)", text)
    return f"GRANT USAGE ON SCHEMA {refused[1]} TO {role}; {table}" if refused and refused[1] == schema() else ""


def _explained(error: DBAPIError, connection: Connection) -> Exception:
    text = str(error.orig)
    if right := _missing_right(text, connection.engine.url.username or "its role"):
        return PublishError(f"the events were not stored: {redact(reason_of(error))}; {right}")
    if "event_store" in text and ("no such table" in text or "does not exist" in text or "no column" in text):
        database = redact(connection.engine.url.render_as_string(hide_password=True))
        return SchemaError(
            f"{database}, where this transaction publishes, has no ledger, or an old one; "
            f"run `EVENTS_DATABASE_URL=... events migrate` for it"
        )
    return error
