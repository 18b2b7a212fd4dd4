"""What the relay reads and writes to send what is due. Keeps events.ports.Outbox; every method is one transaction."""

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Select, exists, func, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from events.ports import Listener
from events.records import Due, Failure, Group, State, Wakeup
from events.store.engine import look, now_plus, transaction
from events.store.keys import is_key, key_table, not_started
from events.store.listener import PollingListener, PostgresListener, SqliteListener, wake_relays
from events.store.tables import event_deliveries, event_store, event_subscriptions, in_state, is_unprocessed

_DELIVERY, _EVENT, _SUBSCRIPTION = event_deliveries.c, event_store.c, event_subscriptions.c
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class SqlOutbox:
    """Fan-out, and what is due."""

    def __init__(self, engine: Engine, *, listen: bool) -> None:
        self._engine = engine
        self._listen = listen

    def fan_out(self, limit: int) -> int:
        unprocessed = (
            select(_EVENT.id, _EVENT.event_type)
            .where(is_unprocessed, _EVENT.event_type.in_(select(_SUBSCRIPTION.event_type)))
            .order_by(_EVENT.timestamp)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        if self._engine.dialect.name == "postgresql":
            return self._fan_out_at_once(unprocessed)
        with look(self._engine) as connection:  # no write lock for a look that mostly finds nothing
            if not connection.scalar(select(exists(unprocessed.limit(1)))):
                return 0
        with transaction(self._engine) as connection:
            ids = [row.id for row in connection.execute(unprocessed)]
            keys = key_table(connection, [(one, "", 0) for one in ids])
            mine = select(_EVENT.id, _EVENT.event_type).join(keys, _EVENT.id == keys.c.event_id).subquery()
            connection.execute(_deliveries_of(connection, mine))
            connection.execute(update(event_store).where(_EVENT.id.in_(select(keys.c.event_id))).values(processed=True))
        return len(ids)

    def _fan_out_at_once(self, unprocessed: "Select[Any]") -> int:
        """One statement and one round trip, which PostgreSQL allows."""
        with look(self._engine) as connection:
            mine = unprocessed.cte("mine")
            marked = (
                update(event_store)
                .where(_EVENT.id == mine.c.id)
                .values(processed=True)
                .returning(_EVENT.id)
                .cte("marked")
            )
            made = _deliveries_of(connection, mine).returning(_DELIVERY.handler).cte("made")
            return connection.scalar(select(func.count()).select_from(marked).add_cte(made)) or 0

    def waiting(self) -> dict[str, timedelta]:
        heads = _heads()
        with look(self._engine) as connection:
            return {
                queue: max(timedelta(0), due_at - (now or datetime.now(UTC)))
                for queue, due_at, now in connection.execute(select(heads, now_plus(connection)))
            }

    def in_flight(self) -> dict[str, Counter[str]]:
        query = (
            select(_DELIVERY.queue, _DELIVERY.handler, func.count())
            .where(in_state(State.SENT, State.RUNNING))
            .group_by(_DELIVERY.queue, _DELIVERY.handler)
        )
        found: dict[str, Counter[str]] = {}
        with look(self._engine) as connection:
            for queue, handler, count in connection.execute(query):
                found.setdefault(queue, Counter())[handler] = count
        return found

    def take_due(
        self,
        queue: str,
        limit: int,
        stale_after: timedelta,
        handlers: Collection[str] | None,
        but: Collection[str],
        group: Callable[[Sequence[Due]], list[Group]],
    ) -> list[Group]:
        with transaction(self._engine) as connection:
            now = now_plus(connection)
            query = (
                select(
                    _DELIVERY.event_id, _DELIVERY.handler, _DELIVERY.attempts, _DELIVERY.alone, _DELIVERY.due_at, now
                )
                .where(in_state(State.PENDING), _DELIVERY.queue == queue, _DELIVERY.due_at <= now)
                .order_by(_DELIVERY.due_at)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
            if handlers is not None:
                query = query.where(_DELIVERY.handler.in_(list(handlers)))
            if but:
                query = query.where(_DELIVERY.handler.not_in(list(but)))
            groups = group([
                Due(Wakeup(event_id, handler, queue, attempts + 1), (clock - due_at).total_seconds(), alone)
                for event_id, handler, attempts, alone, due_at, clock in connection.execute(query)
            ])  # fmt: skip
            if not groups:
                return []
            numbered = [(one.event_id, one.handler, number) for group in groups
                        for number in (secrets.randbits(62),) for one in group]  # fmt: skip
            keys = key_table(connection, numbered)
            connection.execute(
                update(event_deliveries)
                .where(is_key(keys))
                .values(
                    state=State.SENT,
                    sent_at=now_plus(connection),
                    due_at=now_plus(connection, stale_after),
                    worker=None,  # in nobody's hand
                    message=keys.c.number,
                )
            )
        return groups

    def hand_back(self, wakeups: Collection[Wakeup], delay: timedelta) -> int:
        with transaction(self._engine) as connection:
            if not delay:
                wake_relays(connection)
            return connection.execute(
                update(event_deliveries)
                .where(not_started(connection, wakeups))
                .values(state=State.PENDING, due_at=now_plus(connection, delay))
            ).rowcount

    def give_up(self, wakeup: Wakeup, failure: Failure) -> bool:
        with transaction(self._engine) as connection:
            dead = (
                update(event_deliveries)
                .where(not_started(connection, [wakeup]))
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

    def due_in(self, *, copies: bool) -> timedelta | None:
        event_waits = exists().where(is_unprocessed, _EVENT.event_type.in_(select(_SUBSCRIPTION.event_type)))
        uncopied = exists().where(in_state(State.DEAD), _DELIVERY.copied.is_(False), literal(copies))
        heads = _heads()
        with look(self._engine) as connection:
            now = now_plus(connection)
            earliest = [
                select(func.min(heads.c.due_at)),
                # What was sent and is overdue stands in a long queue: it is looked at now and then, not waited for.
                select(func.min(_DELIVERY.due_at)).where(in_state(State.SENT), _DELIVERY.due_at > now),
                select(func.min(_DELIVERY.due_at)).where(in_state(State.RUNNING)),
            ]
            query = select(event_waits, uncopied, now, *(one.scalar_subquery() for one in earliest))
            event, letter, clock, *times = connection.execute(query).one()
        if event or letter:
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


def _heads() -> Any:
    """Each queue that deliveries wait for, and when its earliest is due: columns queue and due_at.

    By the index from one queue to the next, whatever stands in each: a backlog makes it no slower.
    """
    pending = in_state(State.PENDING)
    first = select(func.min(_DELIVERY.queue).label("queue")).where(pending).cte("queues", recursive=True)
    step = first.alias("step")
    following = select(func.min(_DELIVERY.queue)).where(pending, _DELIVERY.queue > step.c.queue).scalar_subquery()
    queues = first.union_all(select(following).where(step.c.queue.is_not(None)))
    earliest = select(func.min(_DELIVERY.due_at)).where(pending, _DELIVERY.queue == queues.c.queue).scalar_subquery()
    return select(queues.c.queue, earliest.label("due_at")).where(queues.c.queue.is_not(None)).subquery("heads")


def _deliveries_of(connection: Connection, events: Any) -> Any:
    """One delivery for each of these events (columns id, event_type) and each handler that subscribed to it."""
    now = now_plus(connection)
    rows = select(events.c.id, _SUBSCRIPTION.handler, _SUBSCRIPTION.queue, literal(State.PENDING.value), now, now).join(
        event_subscriptions, _SUBSCRIPTION.event_type == events.c.event_type
    )
    columns = ["event_id", "handler", "queue", "state", "due_at", "created_at"]
    fan = _INSERTS[connection.dialect.name](event_deliveries).from_select(columns, rows)
    return fan.on_conflict_do_nothing(index_elements=["event_id", "handler"])
