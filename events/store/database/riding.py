"""Statements of ours that wait for the next one on their connection, and go out with it in one round trip.

They are the BEGIN of a transaction, and the savepoint of a delivery. On a network a round trip takes longer than such a
statement itself. A statement whose values are sent apart takes them along, in libpq's pipeline; before any other one
they are sent by themselves. The server executes none of the rest when one fails, so nothing is ever executed without
what had to come before.

psycopg has no documented way to do so that sees an error at once, so this leans on its inside, as it is in the releases
that are named here. With another release nothing waits, and each statement has a round trip of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg._preparing import Prepare
from psycopg.generators import fetch_many, send
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus

CARRIES = psycopg.__version__.startswith(("3.2.", "3.3.")) and psycopg.Pipeline.is_supported()


class Carrier(psycopg.Connection[Any]):
    """psycopg's connection, on which statements can wait.

    Attributes:
        waiting: statements that are executed before the next one. To empty it is to take them back.
    """

    waiting: tuple[str, ...] = ()
    _takes_along = False  # whether the statement that is being executed takes along what waits

    def _start_query(self) -> Any:
        if self._takes_along and self._pipeline is None:
            return
        yield from super()._start_query()
        statements, self.waiting = self.waiting, ()
        if statements:
            yield from self.send_in_one("; ".join(statements).encode())

    def send_with_next(self, *statements: str) -> None:
        """Execute these before the next statement, if possible in one round trip with it."""
        self.waiting = statements
        if not CARRIES:
            self.send_waiting()

    def send_waiting(self) -> None:
        """Send by themselves what waits: what comes next can't take it along."""
        if self.waiting:
            with self.lock:
                self.wait(self._start_query())

    def take_waiting(self) -> list[bytes]:
        """What goes out with the next statement; from now on nothing waits."""
        begins = not self._autocommit and self.pgconn.transaction_status == TransactionStatus.IDLE
        statements, self.waiting = self.waiting, ()
        return [*([self._get_tx_start_command()] if begins else ()), *(one.encode() for one in statements)]

    def send_in_one(self, statements: bytes) -> Any:
        """Send these; to be iterated by psycopg."""
        self.pgconn.send_query(statements)
        yield from send(self.pgconn)
        self.check((yield from fetch_many(self.pgconn)))

    def check(self, results: Sequence[Any]) -> None:
        """Raise the error of a statement that failed."""
        for result in results:
            if result.status == ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result, self.pgconn._encoding)

    @contextmanager
    def pipeline(self) -> Iterator[psycopg.Pipeline]:
        self.send_waiting()
        with super().pipeline() as pipeline:
            yield pipeline

    @contextmanager
    def _pipeline_nolock(self) -> Iterator[psycopg.Pipeline]:
        """psycopg's own, for executemany, which holds the lock."""
        if self.waiting:
            self.wait(self._start_query())
        with super()._pipeline_nolock() as pipeline:
            yield pipeline


class TakingCursor(psycopg.Cursor[Any]):
    """psycopg's cursor, whose statements take along what waits on the connection."""

    _conn: Carrier

    def _execute_gen(self, query: Any, params: Any = None, **options: Any) -> Any:
        # What has no values in it, or has them in its text, may be several statements, and a pipeline takes only one.
        self._conn._takes_along = bool(params) and CARRIES and not isinstance(self, psycopg.ClientCursor)
        try:
            yield from super()._execute_gen(query, params, **options)
        finally:
            self._conn._takes_along = False

    def _maybe_prepare_gen(self, pgq: Any, *, prepare: bool | None = None, binary: bool | None = None) -> Any:
        connection = self._conn
        along = connection.take_waiting() if connection._takes_along and connection._pipeline is None else []
        prepared, name = self._get_prepared(pgq, prepare) if along else (Prepare.NO, b"")
        if along and prepared is Prepare.SHOULD:  # once, in a round trip of its own
            yield from connection.send_in_one(b"; ".join(along))
            along = []
        if not along:
            yield from super()._maybe_prepare_gen(pgq, prepare=prepare, binary=binary)
            return
        results = yield from self._together(along, name, pgq, binary)
        key = connection._prepared.maybe_add_to_cache(pgq, prepared, name)
        if key is not None:
            connection._prepared.validate(key, prepared, name, results)
        self._check_results(results)
        self._set_results(results)

    def _together(self, along: list[bytes], name: bytes, pgq: Any, binary: bool | None) -> Any:
        """Send all of it in a pipeline. Returns the results of the last; raises the error of one before."""
        pgconn = self._pgconn
        pgconn.enter_pipeline_mode()
        try:
            for statement in along:
                pgconn.send_query_params(statement, None)
            if name:
                self._send_query_prepared(name, pgq, binary=binary)
            else:
                self._execute_send(pgq, force_extended=True, binary=binary)
            pgconn.pipeline_sync()
            yield from send(pgconn)
            results = []
            for _ in range(len(along) + 2):  # the last is the end of the pipeline
                results.append((yield from fetch_many(pgconn)))  # noqa: PERF401 - no comprehension may yield
        finally:
            if pgconn.status == ConnStatus.OK:
                with suppress(psycopg.Error):  # it was interrupted, and is busy: nothing can be sent on it any more
                    pgconn.exit_pipeline_mode()
        for result in results[: len(along)]:
            self._conn.check(result)
        return results[-2]
