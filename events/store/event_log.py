"""Where events are written: one statement in the caller's transaction."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, Insert, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from events.envelope import Envelope
from events.errors import PublishError, SchemaError
from events.settings import redact
from events.store.driver import execute_by_driver
from events.store.engine import is_away, look, transaction
from events.store.lending import OURS, as_ourselves
from events.store.listener import NOTIFY, wake_relays
from events.store.tables import event_store
from events.store.with_commit import WithCommit

SOON, WAKE_EVERY = 0.005, 0.05  # seconds; see _is_time_to_wake
_IN_DOUBT, _TRY_EVERY = 10.0, 0.2  # seconds for which, and after which, a commit in doubt is tried again

_COLUMNS = ("id", "aggregate_id", "event_type", "event_data", "version", "timestamp", "schema_version", "metadata")
_INTO = f"INSERT INTO event_store ({', '.join(_COLUMNS)})"
_ONE = f"{_INTO} VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING"
_LAST = f"{_INTO} VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING".encode()
_MANY = (
    f"{_INTO} SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::jsonb[], %s::int[], %s::timestamptz[], "
    "%s::int[], %s::jsonb[]) ON CONFLICT (id) DO NOTHING"
)
_INSERT: dict[str, Insert] = {
    "sqlite": sqlite.insert(event_store).on_conflict_do_nothing(index_elements=["id"]),
    "postgresql": postgresql.insert(event_store).on_conflict_do_nothing(index_elements=["id"]),
}


class SqlEventLog:
    """`event_store`, for those who write it. Keeps the contract of events.ports.EventLog."""

    def __init__(self, engine: Engine, *, notify: bool) -> None:
        self._engine = engine
        self._notify = notify
        self._last_publish = self._last_wake = 0.0
        self._watched: WeakSet[Engine] = WeakSet()
        self._with_commit = WithCommit(
            _LAST,
            _explained,
            also=lambda: NOTIFY.encode() if self._is_time_to_wake() else None,
            sent_early=self._wake_at_commit,
        )

    def begin(self) -> AbstractContextManager[Connection]:
        return transaction(self._engine)

    def append_alone(self, envelopes: Sequence[Envelope]) -> None:
        deadline: float | None = None
        while True:
            begun = False
            try:
                # On PostgreSQL the statement is its own transaction: one round trip, durable when it is answered.
                with look(self._engine) if self._on_postgresql else self.begin() as connection:
                    begun = True
                    self._write(connection, envelopes, begun=True)
                    if self._is_time_to_wake():
                        wake_relays(connection)
                return
            except DBAPIError as error:
                if not is_away(error) or (deadline is None and not begun):
                    raise
                deadline = deadline or time.monotonic() + _IN_DOUBT
                if time.monotonic() > deadline:
                    raise PublishError(
                        f"the database went away while {len(envelopes)} events were committed, so it is not known "
                        f"whether they were; publishing the same event objects again is safe: {_first_line(error)}"
                    ) from error
                time.sleep(_TRY_EVERY)

    def append(self, connection: Connection, envelopes: Sequence[Envelope]) -> None:
        if len(envelopes) == 1 and self._with_commit.keep(connection, _texts(envelopes[0])):
            return
        with as_ourselves(connection):
            self._write(connection, envelopes, begun=connection.in_transaction())
        self._wake_at_commit(connection)

    @property
    def _on_postgresql(self) -> bool:
        return self._engine.dialect.name == "postgresql"

    def _write(self, connection: Connection, envelopes: Sequence[Envelope], *, begun: bool) -> None:
        dialect = connection.dialect.name
        try:
            if begun and connection.dialect.driver == "psycopg" and not connection.dialect.is_async:
                _write_at_once(connection, envelopes)
            else:  # SQLAlchemy must see it to begin a transaction
                rows = [dict(zip(_COLUMNS, _values(one), strict=True)) for one in envelopes]
                connection.execute(_INSERT[dialect], rows, execution_options=OURS)
        except KeyError:
            raise SchemaError(
                f"events are stored in PostgreSQL or SQLite, and this transaction is of {dialect}"
            ) from None
        except (OperationalError, ProgrammingError) as error:
            raise _explained(error, connection) from error

    def _is_time_to_wake(self) -> bool:
        """Not in a steady stream, in which the relay polls as quickly, except now and then."""
        now = time.monotonic()
        streams, self._last_publish = now - self._last_publish < SOON, now
        if streams and now - self._last_wake < WAKE_EVERY:
            return False
        self._last_wake = now
        return self._notify

    def _wake_at_commit(self, connection: Connection) -> None:
        """NOTIFY just before the commit, if it is time for one.

        A transaction with a NOTIFY takes a lock of the whole database when it commits, so under load few may.
        """
        if not self._notify or connection.dialect.name != "postgresql":
            return
        connection.info["events_wake"] = connection.get_transaction()
        if connection.engine not in self._watched:
            self._watched.add(connection.engine)
            event.listen(connection.engine, "commit", self._before_commit)

    def _before_commit(self, connection: Connection) -> None:
        ours = connection.info.pop("events_wake", None)
        # It may be of a transaction that was rolled back, and this a later one.
        if ours is not None and ours is connection.get_transaction() and self._is_time_to_wake():
            wake_relays(connection)


def _values(envelope: Envelope) -> tuple[Any, ...]:
    return (
        envelope.id, envelope.aggregate_id, envelope.event_type, envelope.event_data, envelope.version,
        envelope.timestamp, envelope.schema_version, envelope.metadata,
    )  # fmt: skip


def _texts(envelope: Envelope) -> list[str]:
    return [str(value) for value in _values(envelope)]


def _write_at_once(connection: Connection, envelopes: Sequence[Envelope]) -> None:
    rows = [_texts(envelope) for envelope in envelopes]
    if len(rows) == 1:
        execute_by_driver(connection, _ONE, rows[0])
    else:
        execute_by_driver(connection, _MANY, [_array(column) for column in zip(*rows, strict=True)])


def _array(values: Sequence[str]) -> str:
    """PostgreSQL's way to write an array of texts: psycopg's own takes five times as long for JSON, with its quotes."""
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return '{"' + '","'.join(escaped) + '"}'


def _first_line(error: DBAPIError) -> str:
    return redact(str(error.orig).strip().split("\n")[0])


def _explained(error: DBAPIError, connection: Connection) -> Exception:
    text = str(error.orig)
    if "event_store" in text and ("no such table" in text or "does not exist" in text or "no column" in text):
        database = redact(connection.engine.url.render_as_string(hide_password=True))
        return SchemaError(
            f"{database}, where this transaction publishes, has no ledger, or an old one; "
            f"run `EVENTS_DATABASE_URL=... events migrate` for it"
        )
    return error
