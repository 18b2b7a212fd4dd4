"""A statement that is kept back until the COMMIT and travels with it: one round trip to PostgreSQL for both.

Who publishes and then commits waits no longer than for the commit alone. Whatever comes in between sends it first, so
that a transaction sees what it has published, and a savepoint takes it along; except for the writes of a flush, which
have no need of it, and come between for every Session.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast
from weakref import WeakSet

import psycopg
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.waiting import Ready, Wait
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError, InvalidRequestError

from events.store.driver import as_sqlalchemy_error

_IS_REFERRED_TO = """
    SELECT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid = to_regclass('event_store'))
"""

# In the info of the driver's connection:
_KEPT, _AT_ONCE, _PIPELINES = "events_kept", "events_at_once", "events_pipelines"

Explain = Callable[[DBAPIError, Connection], Exception]


@dataclass(slots=True)
class _Kept:
    transaction: Any
    begun: bool  # whether the driver had begun a transaction by then
    rows: list[Sequence[str]] = field(default_factory=list)


@contextmanager
def at_once(connection: Connection) -> Iterator[None]:
    """While the block runs nothing is kept back: its transaction ends in other ways than by SQLAlchemy's commit."""
    info = connection.info
    info[_AT_ONCE] = True
    try:
        yield
    finally:
        info.pop(_AT_ONCE, None)


class WithCommit:
    """Keeps one kind of statement back.

    Args:
        sql: with $1 and so on.
        explain: makes of a database's error the one to raise.
        also: a command to be sent with the COMMIT too, or None; asked at each commit that has something to send.
        sent_early: called when it had to be sent ahead of the COMMIT.
    """

    def __init__(
        self,
        sql: bytes,
        explain: Explain,
        also: Callable[[], bytes | None],
        sent_early: Callable[[Connection], None],
    ) -> None:
        self._sql = sql
        self._key: Any = None  # of psycopg's own list
        self._explain = explain
        self._also = also
        self._sent_early = sent_early
        self._watched: WeakSet[Engine] = WeakSet()
        self._referred_to: WeakSet[Engine] = WeakSet()  # there, others' foreign keys refer to events

    def keep(self, connection: Connection, values: Sequence[str]) -> bool:
        """Keep the statement with these values for this transaction's commit; False if it has to be executed now."""
        dialect, transaction = connection.dialect, connection.get_transaction()
        if transaction is None or dialect.driver != "psycopg" or dialect.is_async:
            return False
        if connection.in_nested_transaction() or getattr(transaction, "xid", None) is not None:  # one of two phases
            return False
        proxied = connection.connection
        info, driver = proxied.info, cast(Any, proxied.driver_connection)
        if _AT_ONCE in info or driver.autocommit or not _pipelines(driver, info):
            return False
        if connection.engine not in self._watched:
            self._watch(connection.engine, driver)
        kept: _Kept | None = info.get(_KEPT)
        if kept is None or kept.transaction is not transaction:
            begun = driver.pgconn.transaction_status != TransactionStatus.IDLE
            kept = info[_KEPT] = _Kept(transaction, begun)
        kept.rows.append(values)
        return True

    def _watch(self, engine: Engine, driver: Any) -> None:
        self._watched.add(engine)
        if driver.execute(_IS_REFERRED_TO).fetchone()[0]:
            self._referred_to.add(engine)
        event.listen(engine, "commit", self._send_with_commit)
        event.listen(engine, "rollback", _drop)
        event.listen(engine, "before_cursor_execute", self._send_before)

    def _send_with_commit(self, connection: Connection) -> None:
        if (kept := _take(connection)) is None:
            return
        driver: Any = connection.connection.driver_connection
        also = self._also()
        with self._explained(connection, roll_back=True):
            prepared = self._prepared(driver)
            if prepared is None and driver.prepare_threshold is not None:  # the first time on this connection
                self._execute(driver, kept, prepare=True)
                if also is not None:
                    driver.execute(also)
                return
            commands = [] if also is None else [also]
            if not _is_idle(connection):  # else nothing was executed, and what is sent at once is a transaction
                commands.append(b"COMMIT")
            with driver.lock:
                _pipeline(driver, prepared, self._sql, kept.rows, commands)

    def _send_before(self, connection: Connection, _: Any, statement: str, __: Any, context: Any, ___: bool) -> None:
        if _KEPT not in connection.info or (_only_writes(context) and not self._are_read_by(statement, connection)):
            return
        if (kept := _take(connection)) is not None:
            with self._explained(connection):
                self._execute(connection.connection.driver_connection, kept)
            self._sent_early(connection)

    def _are_read_by(self, statement: str, connection: Connection) -> bool:
        """Whether it may need to find the events: it names their table, or a foreign key may refer to it."""
        return "event_" in statement or connection.engine in self._referred_to

    def _execute(self, driver: Any, kept: _Kept, *, prepare: bool | None = None) -> None:
        cursor = psycopg.RawCursor(driver)
        for row in kept.rows:
            cursor.execute(self._sql, row, prepare=prepare)

    def _prepared(self, driver: Any) -> bytes | None:
        """The name that psycopg has given the statement on this connection: only psycopg knows when it is void, since a
        ROLLBACK, for one, makes it drop all its prepared statements."""
        names: dict[Any, bytes] = getattr(getattr(driver, "_prepared", None), "_names", {})
        if self._key is None:
            self._key = next((key for key in names if key[0] == self._sql), None)
        return names.get(self._key)

    @contextmanager
    def _explained(self, connection: Connection, *, roll_back: bool = False) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            if roll_back:  # for SQLAlchemy a transaction is over when its commit has failed
                with suppress(psycopg.Error):
                    cast(Any, connection.connection.driver_connection).rollback()
            wrapped = as_sqlalchemy_error(connection, self._sql.decode(), error)
            raise self._explain(wrapped, connection) from error


def _pipelines(driver: Any, info: dict[Any, Any]) -> bool:
    known: bool | None = info.get(_PIPELINES)
    if known is None:
        known = info[_PIPELINES] = psycopg.Pipeline.is_supported() and driver.info.encoding == "utf-8"
    return known


def _only_writes(context: Any) -> bool:
    """It is an INSERT, UPDATE or DELETE that SQLAlchemy wrote, as those of a flush are."""
    return getattr(context, "compiled", None) is not None and (context.isinsert or context.isupdate or context.isdelete)


def _take(connection: Connection) -> _Kept | None:
    kept: _Kept | None = connection.info.pop(_KEPT, None)
    if kept is None or kept.transaction is not connection.get_transaction():  # that one is gone, and this is another
        return None
    if kept.begun and _is_idle(connection):
        raise InvalidRequestError(
            f"{len(kept.rows)} published events are not stored: their transaction was ended by the driver's own "
            "commit() or rollback(), of which SQLAlchemy doesn't know; end it by the Session or Connection"
        )
    return kept


def _drop(connection: Connection) -> None:
    connection.info.pop(_KEPT, None)


def _is_idle(connection: Connection) -> bool:
    driver: Any = connection.connection.driver_connection
    return bool(driver.pgconn.transaction_status == TransactionStatus.IDLE)


def _pipeline(
    driver: Any, prepared: bytes | None, sql: bytes, rows: Sequence[Sequence[str]], commands: Sequence[bytes]
) -> None:
    """https://www.postgresql.org/docs/current/libpq-pipeline-mode.html; psycopg's own way costs three times as much."""
    pgconn = driver.pgconn
    pgconn.enter_pipeline_mode()
    try:
        for row in rows:
            values = [value.encode() for value in row]
            if prepared is not None:
                pgconn.send_query_prepared(prepared, values)
            else:  # a pooler between may know nothing of prepared statements
                pgconn.send_query_params(sql, values)
        for command in commands:
            pgconn.send_query_params(command, None)
        pgconn.pipeline_sync()
        failed = driver.wait(_first_error(pgconn))
        pgconn.exit_pipeline_mode()
    except BaseException:
        driver.close()  # somebody's answers may be on their way: nobody shall take them for his own
        raise
    if failed is not None:
        raise psycopg.errors.error_from_result(failed, encoding="utf-8")


def _first_error(pgconn: Any) -> Generator[Wait, Ready, Any]:
    """Send all, and read all the answers; the first that is an error."""
    while pgconn.flush():
        if (yield Wait.RW) & Ready.R:
            pgconn.consume_input()
    failed = None
    while True:
        while pgconn.is_busy():
            yield Wait.R
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:  # between the answers to two commands
            continue
        if result.status == ExecStatus.PIPELINE_SYNC:
            return failed
        if failed is None and result.status != ExecStatus.COMMAND_OK:
            failed = result
