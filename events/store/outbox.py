"""What the relay reads and writes. Keeps the contract of events.ports.Outbox; every method is one transaction."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    and_,
    delete,
    exists,
    func,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from events.ports import Listener
from events.records import DeadLetter, DeadLetterFilter, Failure, State, Subscription, Wakeup
from events.store.dead import find
from events.store.engine import now_plus, relaxed_commit, transaction
from events.store.listener import PollingListener, PostgresListener, SqliteListener, wake_relays
from events.store.tables import event_deliveries, event_store, event_subscriptions

_DELIVERY, _EVENT, _SUBSCRIPTION = event_deliveries.c, event_store.c, event_subscriptions.c
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_AT_ONCE = 400  # keys in one statement
DEFAULT_MAX_ATTEMPTS = 8  # of a handler whose subscription is gone

Item = TypeVar("Item")


class SqlOutbox:
    """Subscriptions, fan-out, and what is due."""

    def __init__(self, engine: Engine, *, listen: bool) -> None:
        self._engine = engine
        self._listen = listen

    def subscribe(self, subscriptions: Collection[Subscription]) -> None:
        handlers = {subscription.handler for subscription in subscriptions}
        kept = {(subscription.handler, subscription.event_type) for subscription in subscriptions}
        with transaction(self._engine) as connection:
            for subscription in sorted(subscriptions, key=lambda one: (one.handler, one.event_type)):
                upsert = _INSERTS[connection.dialect.name](event_subscriptions).values(
                    handler=subscription.handler,
                    event_type=subscription.event_type,
                    queue=subscription.queue,
                    max_attempts=subscription.max_attempts,
                )
                connection.execute(
                    upsert.on_conflict_do_update(
                        index_elements=["handler", "event_type"],
                        set_={
                            "queue": upsert.excluded.queue,
                            "max_attempts": upsert.excluded.max_attempts,
                            "updated_at": now_plus(connection),
                        },
                    )
                )
            for handler, queue in sorted({(one.handler, one.queue) for one in subscriptions}):
                _move_to_queue(connection, handler, queue)
            stored = connection.execute(
                select(_SUBSCRIPTION.handler, _SUBSCRIPTION.event_type).where(_SUBSCRIPTION.handler.in_(handlers))
            ).all()
            for handler, event_type in {(row[0], row[1]) for row in stored} - kept:
                connection.execute(
                    delete(event_subscriptions).where(
                        _SUBSCRIPTION.handler == handler, _SUBSCRIPTION.event_type == event_type
                    )
                )

    def queues(self) -> Sequence[str]:
        # Deliveries of a handler that is gone or has moved to another queue keep theirs.
        waiting = select(_DELIVERY.queue).where(_DELIVERY.state == State.PENDING).distinct()
        with self._engine.connect() as connection:
            return sorted(connection.scalars(select(_SUBSCRIPTION.queue).union(waiting)))

    def fan_out(self, limit: int) -> int:
        subscribed = select(_SUBSCRIPTION.event_type)
        unprocessed = (
            select(_EVENT.id)
            .where(_EVENT.processed.is_(False), _EVENT.event_type.in_(subscribed))
            .order_by(_EVENT.timestamp)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        with self._engine.connect() as connection:  # SQLite: no write lock for a look that mostly finds nothing
            if not connection.scalar(select(exists(unprocessed.with_for_update(read=False).limit(1)))):
                return 0
        moved = 0
        with transaction(self._engine) as connection:
            now = now_plus(connection)
            for ids in _chunks(connection.scalars(unprocessed).all()):
                rows = (
                    select(
                        _EVENT.id, _SUBSCRIPTION.handler, _SUBSCRIPTION.queue, literal(State.PENDING.value), now, now
                    )
                    .join(event_subscriptions, _SUBSCRIPTION.event_type == _EVENT.event_type)
                    .where(_EVENT.id.in_(ids))
                )
                columns = ["event_id", "handler", "queue", "state", "due_at", "created_at"]
                fan = _INSERTS[connection.dialect.name](event_deliveries).from_select(columns, rows)
                connection.execute(fan.on_conflict_do_nothing(index_elements=["event_id", "handler"]))
                connection.execute(update(event_store).where(_EVENT.id.in_(ids)).values(processed=True))
                moved += len(ids)
        return moved

    def in_flight(self) -> dict[str, int]:
        query = (
            select(_DELIVERY.queue, func.count())
            .where(_DELIVERY.state.in_([State.SENT, State.RUNNING]))
            .group_by(_DELIVERY.queue)
        )
        with self._engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def take_due(
        self, queue: str, limit: int, stale_after: timedelta, handlers: Collection[str] | None
    ) -> list[Wakeup]:
        with self._engine.connect() as connection:
            if not connection.scalar(select(exists(self._due(connection, queue, 1, handlers)))):
                return []
        taken: list[Wakeup] = []
        with transaction(self._engine) as connection:
            due = connection.execute(
                self._due(connection, queue, limit, handlers).with_for_update(skip_locked=True)
            ).all()
            for rows in _chunks(due):
                connection.execute(
                    update(event_deliveries)
                    .where(tuple_(_DELIVERY.event_id, _DELIVERY.handler).in_([(row[0], row[1]) for row in rows]))
                    .values(
                        state=State.SENT,
                        sent_at=now_plus(connection),
                        due_at=now_plus(connection, stale_after),
                        worker=None,  # in nobody's hand
                    )
                )
                taken += [Wakeup(row[0], row[1], queue, row[2] + 1) for row in rows]
        return taken

    def hand_back(self, wakeups: Collection[Wakeup], delay: timedelta) -> int:
        count = 0
        with transaction(self._engine) as connection:
            if not delay:
                wake_relays(connection)
            for chunk in _chunks(wakeups):
                count += connection.execute(
                    update(event_deliveries)
                    .where(_not_started(chunk))
                    .values(state=State.PENDING, due_at=now_plus(connection, delay))
                ).rowcount
        return count

    def give_up(self, wakeup: Wakeup, failure: Failure) -> bool:
        with transaction(self._engine) as connection:
            dead = (
                update(event_deliveries)
                .where(_not_started([wakeup]))
                .values(
                    state=State.DEAD,
                    finished_at=now_plus(connection),
                    copied=False,
                    error_type=failure.error_type,
                    error=failure.error,
                    traceback=failure.traceback,
                )
            )
            return connection.execute(dead).rowcount == 1

    def renew(self, wakeups: Collection[Wakeup], stale_after: timedelta, holder: str) -> None:
        with transaction(self._engine) as connection:
            relaxed_commit(connection)
            for chunk in _chunks(wakeups):
                connection.execute(
                    update(event_deliveries)
                    .where(_not_started(chunk))
                    .values(due_at=now_plus(connection, stale_after), worker=holder[:255])
                )

    def overdue(self) -> dict[str, int]:
        with self._engine.connect() as connection:
            late = (
                select(_DELIVERY.queue)
                .where(_DELIVERY.state == State.SENT, _DELIVERY.due_at <= now_plus(connection))
                .distinct()
            )
            query = (
                select(_DELIVERY.queue, func.count().filter(_DELIVERY.worker.is_(None)))
                .where(_DELIVERY.state == State.SENT, _DELIVERY.queue.in_(late))
                .group_by(_DELIVERY.queue)
            )
            return {row[0]: row[1] for row in connection.execute(query)}

    def resend(self, queue: str, missing: int) -> int:
        with transaction(self._engine) as connection:
            now = now_plus(connection)
            late = and_(_DELIVERY.state == State.SENT, _DELIVERY.queue == queue, _DELIVERY.due_at <= now)
            columns = select(_DELIVERY.event_id, _DELIVERY.handler, _DELIVERY.attempts).where(late)
            oldest = columns.where(_DELIVERY.worker.is_(None)).order_by(_DELIVERY.sent_at).limit(missing)
            of_the_silent = columns.where(_DELIVERY.worker.is_not(None))
            lost = [
                Wakeup(row[0], row[1], queue, row[2] + 1)
                for query in (oldest, of_the_silent)
                for row in connection.execute(query.with_for_update(skip_locked=True))
            ]
            for chunk in _chunks(lost):
                connection.execute(
                    update(event_deliveries).where(_not_started(chunk)).values(state=State.PENDING, due_at=now)
                )
        return len(lost)

    def expire_leases(self, limit: int) -> int:
        with self._engine.connect() as connection:
            ended = and_(_DELIVERY.state == State.RUNNING, _DELIVERY.due_at <= now_plus(connection))
            if not connection.scalar(select(exists().where(ended))):
                return 0
        with transaction(self._engine) as connection:
            now = now_plus(connection)
            query = (
                select(_DELIVERY.event_id, _DELIVERY.handler, _DELIVERY.attempts, _DELIVERY.attempts_before,
                       _DELIVERY.worker)
                .where(_DELIVERY.state == State.RUNNING, _DELIVERY.due_at <= now)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )  # fmt: skip
            rows = connection.execute(query).all()
            for row in rows:
                last = row.attempts - row.attempts_before >= max_attempts(connection, row.handler)
                connection.execute(
                    update(event_deliveries)
                    .where(_DELIVERY.event_id == row.event_id, _DELIVERY.handler == row.handler)
                    .values(
                        state=State.DEAD if last else State.PENDING,
                        due_at=now,
                        finished_at=now if last else None,
                        error_type="events.errors.WorkerLost",
                        error=f"worker {row.worker} died, or let its lease run out, during attempt {row.attempts}",
                        traceback="",
                    )
                )
        return len(rows)

    def take_uncopied(self, limit: int) -> list[DeadLetter]:
        with self._engine.connect() as connection:
            return find(connection, DeadLetterFilter(limit=limit), _DELIVERY.copied.is_(False))

    def mark_copied(self, letters: Collection[DeadLetter]) -> None:
        with transaction(self._engine) as connection:
            for chunk in _chunks(letters):
                # With its attempts: what died again since is another death, not yet copied.
                keys = [(letter.event_id, letter.handler, letter.attempts) for letter in chunk]
                same = tuple_(_DELIVERY.event_id, _DELIVERY.handler, _DELIVERY.attempts).in_(keys)
                connection.execute(
                    update(event_deliveries).where(same, _DELIVERY.state == State.DEAD).values(copied=True)
                )

    def due_in(self) -> timedelta | None:
        active = [State.PENDING, State.SENT, State.RUNNING]
        waiting = (
            exists()
            .where(_EVENT.processed.is_(False), _EVENT.event_type.in_(select(_SUBSCRIPTION.event_type)))
            .select()
            .scalar_subquery()
        )
        with self._engine.connect() as connection:
            now = now_plus(connection)
            # What was sent and is overdue stands in a long queue: it is looked at now and then, not waited for.
            earliest = [
                select(func.min(_DELIVERY.due_at))
                .where(_DELIVERY.state == state, *([_DELIVERY.due_at > now] if state is State.SENT else []))
                .scalar_subquery()
                for state in active
            ]
            event_waits, clock, *times = connection.execute(select(waiting, now, *earliest)).one()
        if event_waits:
            return timedelta(0)
        known = [moment for moment in times if moment is not None]
        if not known:
            return None
        until: timedelta = min(known) - (clock or datetime.now(UTC))
        return max(timedelta(0), until)

    def listen(self) -> Listener:
        if self._engine.dialect.name == "sqlite":
            return SqliteListener(self._engine)
        return PostgresListener(self._engine) if self._listen else PollingListener()

    def _due(
        self, connection: Connection, queue: str, limit: int, handlers: Collection[str] | None
    ) -> "Select[UUID, str, int]":
        query = (
            select(_DELIVERY.event_id, _DELIVERY.handler, _DELIVERY.attempts)
            .where(_DELIVERY.state == State.PENDING, _DELIVERY.queue == queue, _DELIVERY.due_at <= now_plus(connection))
            .order_by(_DELIVERY.due_at)
            .limit(limit)
        )
        return query if handlers is None else query.where(_DELIVERY.handler.in_(list(handlers)))


def _move_to_queue(connection: Connection, handler: str, queue: str) -> None:
    """A handler was given another queue: what waits for it moves along, or nobody might ever read it."""
    elsewhere = and_(_DELIVERY.handler == handler, _DELIVERY.queue != queue)
    waits = and_(elsewhere, _DELIVERY.state == State.PENDING)
    connection.execute(update(event_deliveries).where(waits).values(queue=queue))
    sent = and_(elsewhere, _DELIVERY.state == State.SENT)
    connection.execute(
        update(event_deliveries).where(sent).values(queue=queue, state=State.PENDING, due_at=now_plus(connection))
    )


def max_attempts(connection: Connection, handler: str) -> int:
    """What the handler's subscription says."""
    query = select(func.max(_SUBSCRIPTION.max_attempts)).where(_SUBSCRIPTION.handler == handler)
    return connection.scalar(query) or DEFAULT_MAX_ATTEMPTS


def _not_started(wakeups: Collection[Wakeup]) -> ColumnElement[bool]:
    """Sent, and still before the attempt that each wake-up is for."""
    keys = [(wakeup.event_id, wakeup.handler, wakeup.attempt - 1) for wakeup in wakeups]
    return and_(
        _DELIVERY.state == State.SENT, tuple_(_DELIVERY.event_id, _DELIVERY.handler, _DELIVERY.attempts).in_(keys)
    )


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, _AT_ONCE)):
        yield chunk
