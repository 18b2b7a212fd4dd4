"""Where events are written: one statement in the caller's transaction."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from sqlalchemy import Connection, Engine, Insert, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from events.envelope import Envelope
from events.errors import PublishError, SchemaError
from events.settings import redact
from events.store.engine import is_away, transaction
from events.store.listener import wake_relays
from events.store.tables import event_store

_WAKE_EVERY = 0.05  # seconds; see _wake_at_commit
_IN_DOUBT, _TRY_EVERY = 10.0, 0.2  # seconds for which, and after which, a commit in doubt is tried again

_INSERT: dict[str, Insert] = {
    "sqlite": sqlite.insert(event_store).on_conflict_do_nothing(index_elements=["id"]),
    "postgresql": postgresql.insert(event_store).on_conflict_do_nothing(index_elements=["id"]),
}


class SqlEventLog:
    """`event_store`, for those who write it. Keeps the contract of events.ports.EventLog."""

    def __init__(self, engine: Engine, *, notify: bool) -> None:
        self._engine = engine
        self._notify = notify
        self._last_wake = 0.0

    def begin(self) -> AbstractContextManager[Connection]:
        return transaction(self._engine)

    def append_alone(self, envelopes: Sequence[Envelope]) -> None:
        deadline: float | None = None
        while True:
            begun = False
            try:
                with self.begin() as connection:
                    begun = True
                    self.append(connection, envelopes)
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
        rows = [
            {
                "id": envelope.id,
                "aggregate_id": envelope.aggregate_id,
                "event_type": envelope.event_type,
                "event_data": envelope.event_data,
                "version": envelope.version,
                "timestamp": envelope.timestamp,
                "schema_version": envelope.schema_version,
                "metadata": envelope.metadata,
            }
            for envelope in envelopes
        ]
        dialect = connection.dialect.name
        try:
            # Of many rows psycopg makes one pipeline: one round trip.
            connection.execute(_INSERT[dialect], rows if len(rows) > 1 else rows[0])
        except KeyError:
            raise SchemaError(
                f"events are stored in PostgreSQL or SQLite, and this transaction is of {dialect}"
            ) from None
        except (OperationalError, ProgrammingError) as error:
            raise _explained(error, connection) from error
        if self._notify and dialect == "postgresql":
            self._wake_at_commit(connection)

    def _wake_at_commit(self, connection: Connection) -> None:
        """NOTIFY just before the commit, at most every 50 ms a process.

        A transaction with a NOTIFY takes a lock of the whole database when it commits, so under load few may. What
        commits in between is found by the relay, which polls quickly for a while after each wake-up.
        """

        def before_commit(committing: Connection) -> None:
            if committing.get_transaction() is not ours:  # ours was rolled back; this is a later one
                return
            now = time.monotonic()
            if now - self._last_wake >= _WAKE_EVERY:
                self._last_wake = now
                wake_relays(committing)

        ours = connection.get_transaction()
        if ours is None or connection.info.get("events_wake") is ours:
            return
        connection.info["events_wake"] = ours
        event.listen(connection, "commit", before_commit, once=True)


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
