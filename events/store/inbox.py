"""What a worker reads and writes around a handler's run. Keeps the contract of events.ports.Inbox.

Every write after the claim is fenced: it happens only `WHERE` the delivery is running with this very attempt.
"""

from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Engine, Text, and_, cast, exists, func, select, update

from events.envelope import Envelope
from events.errors import LeaseLost
from events.records import Claim, Failure, State
from events.store.engine import is_away, is_contention, now_plus, relaxed_commit, transaction
from events.store.listener import wake_relays
from events.store.outbox import max_attempts
from events.store.tables import event_deliveries, event_store

_DELIVERY, _EVENT = event_deliveries.c, event_store.c
_ENVELOPE = select(
    _EVENT.id,
    _EVENT.aggregate_id,
    _EVENT.event_type,
    cast(_EVENT.event_data, Text).label("event_data"),
    _EVENT.version,
    _EVENT.timestamp,
    _EVENT.schema_version,
    cast(_EVENT.metadata, Text).label("metadata"),
)


class SqlInbox:
    """Claims, leases and outcomes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, *, eager: bool = False) -> AbstractContextManager[Connection]:
        return transaction(self._engine, eager=eager)

    def is_away(self, error: BaseException) -> bool:
        return is_away(error)

    def is_contention(self, error: BaseException) -> bool:
        return is_contention(error)

    def claim(self, event_id: UUID, handler: str, attempt: int, worker: str, lease: timedelta) -> Claim | None:
        with transaction(self._engine) as connection:
            relaxed_commit(connection)
            now = now_plus(connection)
            taken = connection.execute(
                update(event_deliveries)
                .where(_key(event_id, handler), _DELIVERY.state == State.SENT, _DELIVERY.attempts == attempt - 1)
                .values(
                    state=State.RUNNING,
                    attempts=attempt,
                    worker=worker[:255],
                    started_at=now,
                    first_started_at=func.coalesce(_DELIVERY.first_started_at, now),
                    due_at=now_plus(connection, lease),
                )
                .returning(_DELIVERY.attempts_before)
            ).first()
            if taken is None:
                return None
            row = connection.execute(_ENVELOPE.where(_EVENT.id == event_id)).first()
        if row is None:  # somebody deleted the event: nothing can be handled, and that must be seen
            gone = Envelope(event_id, "", "", "", 1, None, 1, "")
            self.bury(
                Claim(gone, handler, attempt, 1, worker),
                Failure("events.errors.EventDataError", f"event {event_id} is no longer in event_store", ""),
            )
            return None
        envelope = Envelope(
            id=event_id,
            aggregate_id=row.aggregate_id or "",
            event_type=row.event_type,
            event_data=str(row.event_data),
            version=row.version,
            timestamp=row.timestamp,
            schema_version=row.schema_version,
            metadata=row.metadata or "{}",
        )
        return Claim(envelope, handler, attempt, attempt - taken.attempts_before, worker)

    def knows(self, event_id: UUID, handler: str) -> bool:
        with self._engine.connect() as connection:
            return bool(connection.scalar(select(exists().where(_key(event_id, handler)))))

    def extend(self, claim: Claim, lease: timedelta) -> bool:
        with transaction(self._engine) as connection:
            relaxed_commit(connection)
            return _write(connection, claim, due_at=now_plus(connection, lease))

    def succeed(self, connection: Connection, claim: Claim) -> None:
        done = _write(
            connection,
            claim,
            state=State.SUCCEEDED,
            finished_at=now_plus(connection),
            error_type=None,
            error=None,
            traceback=None,
        )
        if not done:
            raise LeaseLost(
                f"delivery of {claim.envelope.id} to {claim.handler}: attempt {claim.attempt} by {claim.worker} took "
                f"longer than its lease and another owns it now; its effects are rolled back"
            )

    def succeeded(self, claim: Claim) -> bool:
        query = select(_DELIVERY.state, _DELIVERY.attempts).where(_key(claim.envelope.id, claim.handler))
        with transaction(self._engine) as connection:
            row = connection.execute(query.with_for_update()).one()
        return (row.state, row.attempts) == (State.SUCCEEDED, claim.attempt)

    def retry(self, claim: Claim, failure: Failure, delay: timedelta) -> bool:
        with transaction(self._engine) as connection:
            return _write(connection, claim, state=State.PENDING, due_at=now_plus(connection, delay), **_why(failure))

    def bury(self, claim: Claim, failure: Failure) -> bool:
        with transaction(self._engine) as connection:
            return _write(
                connection, claim, state=State.DEAD, finished_at=now_plus(connection), copied=False, **_why(failure)
            )

    def hand_back(self, claim: Claim, delay: timedelta) -> bool:
        with transaction(self._engine) as connection:
            return _write(
                connection,
                claim,
                state=State.PENDING,
                due_at=now_plus(connection, delay),
                attempts_before=_DELIVERY.attempts_before + 1,
            )

    def release(self, worker_prefix: str) -> int:
        with transaction(self._engine) as connection:
            theirs = and_(_DELIVERY.state == State.RUNNING, _DELIVERY.worker.startswith(worker_prefix, autoescape=True))
            wake_relays(connection)
            return connection.execute(
                update(event_deliveries)
                .where(theirs)
                .values(state=State.PENDING, due_at=now_plus(connection), attempts_before=_DELIVERY.attempts_before + 1)
            ).rowcount

    def abandon(self, event_id: UUID, handler: str, attempt: int, failure: Failure, delay: timedelta) -> bool:
        mine = and_(_key(event_id, handler), _DELIVERY.state == State.RUNNING, _DELIVERY.attempts == attempt)
        with transaction(self._engine) as connection:
            row = connection.execute(select(_DELIVERY.attempts_before).where(mine).with_for_update()).first()
            if row is None:
                return False
            last = attempt - row.attempts_before >= max_attempts(connection, handler)
            outcome = (
                {"state": State.DEAD, "finished_at": now_plus(connection), "copied": False}
                if last
                else {"state": State.PENDING, "due_at": now_plus(connection, delay)}
            )
            connection.execute(update(event_deliveries).where(mine).values(**outcome, **_why(failure)))
            return True


def _key(event_id: UUID, handler: str) -> ColumnElement[bool]:
    return and_(_DELIVERY.event_id == event_id, _DELIVERY.handler == handler)


def _write(connection: Connection, claim: Claim, **values: Any) -> bool:
    """Write to the delivery if it is still this claim's."""
    mine = and_(
        _key(claim.envelope.id, claim.handler),
        _DELIVERY.state == State.RUNNING,
        _DELIVERY.attempts == claim.attempt,
    )
    return connection.execute(update(event_deliveries).where(mine).values(**values)).rowcount == 1


def _why(failure: Failure) -> dict[str, str]:
    return {"error_type": failure.error_type, "error": failure.error, "traceback": failure.traceback}
