"""One delivery: claim it, call the handler in a transaction, write the outcome into the same transaction."""

import logging
import random
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.orm import Session

from events.calling import call
from events.codec import decode
from events.errors import EventDataError, LeaseLost, NewerEvent, TransactionMisused
from events.event import DomainEvent, fingerprint
from events.heartbeat import Heartbeat
from events.injection import Delivery, Wanted
from events.ports import Inbox, WorkerRegistry
from events.publishing import Running, running
from events.records import ALIVE, Claim, Failure
from events.registry import Handler, handler_named
from events.throttle import Throttle

log = logging.getLogger("events.delivery")

Answer = TypeVar("Answer")


def try_elsewhere_after() -> timedelta:
    """When a delivery that this worker can't run is sent again.

    Never the same: a broker that takes turns would give what is sent together to the same workers again and again.
    """
    return timedelta(seconds=random.uniform(0.5, 2.0))


_MAX_ERROR, _MAX_TRACEBACK = 4_000, 30_000  # characters kept of an error


class Outcome(StrEnum):
    """What became of one attempt."""

    SUCCEEDED = "succeeded"  # effects and outcome are committed
    RETRY = "retry"  # rolled back; the ledger holds the time of the next attempt
    HANDED_BACK = "handed back"  # not run, the attempt is not counted: it waits for another worker
    DEAD = "dead"  # rolled back; a dead letter
    UNKNOWN = "unknown"  # the ledger has no such delivery
    NOT_OURS = "not ours"  # done already, taken by another attempt, or lost to it: nothing was changed


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one attempt; `error` is what the handler raised, `due_in` the wait before the next attempt."""

    outcome: Outcome
    error: BaseException | None = None
    due_in: timedelta | None = None

    @property
    def summary(self) -> str:
        if self.error is None:
            return self.outcome.value
        return f"{self.outcome.value}: {type(self.error).__name__}: {_text_of(self.error)[:500]}"


class GaveUp(Exception):
    """The database is away, and there is no more time to wait for it."""


class Deliverer:
    """Runs deliveries in one process.

    Args:
        inbox: the ledger's side.
        workers: who else lives.
        worker: name of this worker, shown with dead letters.
        lease: how long a claim lasts without a heartbeat.
        stopping: tells whether an exception is this process being ended rather than the handler failing.
        draining: tells whether nothing new is to be started.
    """

    def __init__(
        self,
        inbox: Inbox,
        workers: WorkerRegistry,
        worker: str,
        lease: timedelta,
        stopping: Callable[[BaseException], bool] = lambda _: False,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._inbox = inbox
        self._workers = workers
        self._worker = worker
        self._lease = lease
        self._stopping = stopping
        self._draining = draining
        self._heartbeat = Heartbeat(inbox, lease)
        self._throttle = Throttle(log)

    def deliver(self, event_id: UUID, handler: str, attempt: int) -> Result:
        """Run one attempt of a delivery; a handler's failure is a result, not an exception.

        Raises:
            UnknownHandler: this process has no such handler; nothing was claimed.
            sqlalchemy.exc.DBAPIError: the database refused. While it is away this waits for it.
        """
        known = handler_named(handler)
        try:
            claim = self._insist(
                lambda: self._inbox.claim(event_id, handler, attempt, self._worker, self._lease), until=self._draining
            )
        except GaveUp:  # the ledger finds the wake-up by its age
            return Result(Outcome.HANDED_BACK)
        if claim is None:
            return Result(Outcome.NOT_OURS if self._inbox.knows(event_id, handler) else Outcome.UNKNOWN)
        with self._heartbeat.keep(claim):
            try:
                try:
                    event = decode(claim.envelope)
                except (EventDataError, NewerEvent):
                    if self._is_for_another(known, claim):
                        return Result(Outcome.HANDED_BACK)
                    raise
                self._run(known, claim, event)
            except LeaseLost as error:
                log.warning("%s", error)
                return Result(Outcome.NOT_OURS, error)
            except BaseException as error:
                if self._stopping(error):
                    raise
                if self._inbox.is_away(error) and self._insist(lambda: self._inbox.succeeded(claim)):
                    return Result(Outcome.SUCCEEDED)  # the connection was lost after the database had committed
                return self._judge(known, claim, error)
        return Result(Outcome.SUCCEEDED)

    def abandon(self, event_id: UUID, handler: str, attempt: int, error: BaseException) -> None:
        """Record that the process which ran this attempt is gone. Does nothing if the attempt has an outcome."""
        delay = handler_named(handler).retry.backoff_after(1)
        self._inbox.abandon(event_id, handler, attempt, failure_of(error), delay)

    def _run(self, handler: Handler, claim: Claim, event: DomainEvent) -> None:
        try:
            self._attempt(handler, claim, event, eager=False)
        except Exception as error:
            if not self._inbox.is_contention(error):
                raise
            # Two transactions got in each other's way, which is nobody's failure: once more, locks first.
            log.info("delivery %s of %s ran into another transaction; running it again", handler.name, event.event_id)
            self._attempt(handler, claim, event, eager=True)

    def _attempt(self, handler: Handler, claim: Claim, event: DomainEvent, *, eager: bool) -> None:
        with ExitStack() as stack:
            connection = stack.enter_context(self._inbox.begin(eager=eager))
            transaction = connection.get_transaction()
            with _only_we_commit(connection, handler.name):
                session = (
                    stack.enter_context(Session(connection, join_transaction_mode="create_savepoint"))
                    if Wanted.SESSION in handler.wants.values()
                    else None
                )
                token = running.set(Running(event, connection))
                try:
                    call(handler.call, _arguments(handler, claim, event, connection, session), handler.name)
                finally:
                    running.reset(token)
                if connection.get_transaction() is not transaction or not connection.in_transaction():
                    raise TransactionMisused(
                        f"handler {handler.name!r} rolled back the delivery's own transaction; use a savepoint "
                        f"(begin_nested) or raise an error"
                    )
                if session is not None:
                    session.commit()  # flushes, and releases its savepoint; the transaction stays open
            self._inbox.succeed(connection, claim)

    def _is_for_another(self, handler: Handler, claim: Claim) -> bool:
        """We can't read this event. While old and new code run side by side, a worker with the other code may."""
        event_type = claim.envelope.event_type
        ours = {event.event_name: fingerprint(event) for event in handler.events}.get(event_type, "")
        other = self._insist(lambda: self._workers.understood_elsewhere(handler.name, event_type, ours, ALIVE))
        return other and self._insist(lambda: self._inbox.hand_back(claim, try_elsewhere_after()))

    def _insist(self, action: Callable[[], Answer], until: Callable[[], bool] = lambda: False) -> Answer:
        """Do it as soon as the database lets us. Meanwhile this worker takes nothing else, as it couldn't do it.

        Raises:
            GaveUp: `until` came true before the database came back.
        """
        pause = 0.1
        while True:
            try:
                return action()
            except Exception as error:
                if not (self._inbox.is_away(error) or self._inbox.is_contention(error)):
                    raise
                if until():
                    raise GaveUp from error
                self._throttle.warn(f"waiting for the database: {error}")
            time.sleep(pause)
            pause = min(2 * pause, 1.0)

    def _judge(self, handler: Handler, claim: Claim, error: BaseException) -> Result:
        delay = handler.retry.delay_after(error, claim.run)
        if isinstance(error, EventDataError):
            delay = None
        failure = failure_of(error)
        if delay is None:
            result = Result(Outcome.DEAD, error)
            recorded = self._insist(lambda: self._inbox.bury(claim, failure))
        else:
            result = Result(Outcome.RETRY, error, delay)
            recorded = self._insist(lambda: self._inbox.retry(claim, failure, delay))
        # Not ours any more: another attempt has it, or a commit that seemed to fail had reached the database after all.
        return result if recorded else Result(Outcome.NOT_OURS, error)


def failure_of(error: BaseException) -> Failure:
    """An exception as it is stored: text that every database takes, cut to size."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        trace = "".join(traceback.format_exception(error))
    except Exception:
        trace = f"{name}: (its traceback can't be printed)"
    if len(trace) > _MAX_TRACEBACK:
        half = _MAX_TRACEBACK // 2
        trace = f"{trace[:half]}\n... {len(trace) - 2 * half:,} characters left out ...\n{trace[-half:]}"
    return Failure(name[:255], _storable(_text_of(error))[:_MAX_ERROR], _storable(trace))


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text can't be printed)"


def _storable(text: str) -> str:
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


def _arguments(
    handler: Handler, claim: Claim, event: DomainEvent, connection: Connection, session: Session | None
) -> dict[str, Any]:
    values: dict[Wanted, Any] = {
        Wanted.EVENT: event,
        Wanted.CONNECTION: connection,
        Wanted.SESSION: session,
        Wanted.DELIVERY: Delivery(
            event_id=event.event_id,
            event_type=claim.envelope.event_type,
            handler=handler.name,
            attempt=claim.run,
            max_attempts=handler.retry.max_attempts,
            worker=claim.worker,
            correlation_id=event.metadata.correlation_id or str(event.event_id),
        ),
    }
    return {parameter: values[wanted] for parameter, wanted in handler.wants.items()}


class _only_we_commit:  # noqa: N801 - reads as a word in a with statement
    """While the handler runs, a commit of the delivery's transaction is refused: effects and outcome go together."""

    def __init__(self, connection: Connection, handler: str) -> None:
        self._connection = connection
        self._handler = handler

    def __enter__(self) -> None:
        sqlalchemy_event.listen(self._connection, "commit", self._refuse)

    def __exit__(self, *_: object) -> None:
        sqlalchemy_event.remove(self._connection, "commit", self._refuse)

    def _refuse(self, connection: Connection) -> None:
        connection.invalidate()  # closes it: whatever the handler does now, the database has rolled back
        raise TransactionMisused(
            f"handler {self._handler!r} tried to commit the delivery's own transaction; leave it open: it is committed "
            f"together with the delivery's outcome when the handler returns"
        )
