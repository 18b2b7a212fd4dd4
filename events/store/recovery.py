"""Recovers what got lost: wake-ups, leases that ended, dead letters without a copy. Keeps events.ledger.Recovery."""

from collections.abc import Collection
from datetime import timedelta
from functools import cache
from itertools import accumulate
from typing import Any

from sqlalchemy import Engine, Select, Text, and_, cast, delete, exists, false, func, or_, select, true, tuple_, update

from events.errors import WorkerLost
from events.ledger import DeadLetter, DeadLetterFilter, Missing, Outcome, State, Wakeup, failure_without_trace
from events.store.conditions import in_state, is_of_state, is_paused, waits
from events.store.database.availability import AWAY, is_away
from events.store.database.engine import look, moment, moments, now_plus, relaxed_commit, transaction
from events.store.delivery_keys import is_key, key_table, key_values, locked, not_started, unlocked, wakeup_values
from events.store.failed_attempts import fail, interrupt
from events.store.fencing import is_still
from events.store.leases import is_leased, unfold_ended
from events.store.marked_by_others import is_any_unsettled
from events.store.operating.dead_letters import find, sizes_of
from events.store.routing import AT_LAST, AT_ONCE, bring_home, has_changed
from events.store.schema.refusals import explained
from events.store.subscriptions import max_attempts
from events.store.tables import event_deliveries, event_handlers, event_leases

_DELIVERY, _HANDLER = event_deliveries.c, event_handlers.c
# The most characters of dead letters that are copied at once: in memory they take some ten times as much.
_AT_ONCE = 1_000_000
_REMEMBERED_FOR = timedelta(minutes=10)  # how long the operator that resumed a handler is remembered
# The message in which a delivery was sent. Deliveries that older code sent have no number, and each was a message by
# itself.
_MESSAGE = func.coalesce(cast(_DELIVERY.message, Text), cast(_DELIVERY.event_id, Text) + _DELIVERY.handler)


class SqlRecovery:
    """Deliveries that were sent or running, and of which no worker has reported since."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._dialect = engine.dialect.name

    def renew(self, wakeups: Collection[Wakeup], stale_after: timedelta, holder: str) -> None:
        with transaction(self._engine) as connection:
            relaxed_commit(connection)
            connection.execute(
                update(event_deliveries)
                .where(unlocked(not_started(self._dialect)))
                .values(due_at=now_plus(connection, stale_after), worker=holder[:255]),
                wakeup_values(self._dialect, wakeups),
            )

    def missing(self, ended_ago: timedelta = timedelta(0)) -> Missing:
        delays = moments(self._dialect, ended=-ended_ago, forgotten=-_REMEMBERED_FOR, soon=-AT_ONCE, late=-AT_LAST)
        with look(self._engine) as connection:
            return Missing(*map(bool, connection.execute(_missing(self._dialect), delays).one()))

    def overdue(self) -> dict[str, int]:
        with look(self._engine) as connection:
            # Counting messages takes long, and mostly none is overdue. So there are two statements: the planner never
            # knows how many deliveries are sent, and for one statement its plan may search for overdue deliveries anew
            # for each row.
            late = (
                select(_DELIVERY.queue)
                .where(in_state(State.SENT))
                .group_by(_DELIVERY.queue)
                .having(func.min(_DELIVERY.due_at) <= now_plus(connection))
            )
            queues = list(connection.scalars(late))
            if not queues:
                return {}
            messages = func.count(_MESSAGE.distinct()).filter(_DELIVERY.worker.is_(None))
            query = select(_DELIVERY.queue, messages).where(in_state(State.SENT), _DELIVERY.queue.in_(queues))
            return {row[0]: row[1] for row in connection.execute(query.group_by(_DELIVERY.queue))}

    def resend(self, queue: str, missing: int) -> int:
        with transaction(self._engine) as connection:
            now = now_plus(connection)
            late = and_(in_state(State.SENT), _DELIVERY.queue == queue, _DELIVERY.due_at <= now, ~is_leased())
            oldest = (
                select(_MESSAGE)
                .where(late, _DELIVERY.worker.is_(None))
                .group_by(_MESSAGE)
                .order_by(func.min(_DELIVERY.sent_at))
                .limit(missing)
            )
            again = {"state": waits(), "due_at": now}
            lost = and_(late, _DELIVERY.worker.is_(None), _MESSAGE.in_(oldest))
            of_the_silent = and_(late, _DELIVERY.worker.is_not(None))
            sending = update(event_deliveries).values(again)
            return sum(connection.execute(sending.where(unlocked(which))).rowcount for which in (lost, of_the_silent))

    def unpause(self, limit: int) -> int:
        # The query starts from the deliveries, not from the handlers: so a paused delivery is found for as long as it
        # is paused, whatever left it so.
        with look(self._engine) as connection:
            old = and_(_HANDLER.paused.is_(False), _HANDLER.changed_at < now_plus(connection, -_REMEMBERED_FOR))
            resumed = list(connection.scalars(_RESUMED))
            forgotten = connection.scalar(select(exists().where(old)))
        if forgotten:
            with transaction(self._engine) as connection:
                free = select(_HANDLER.handler).where(old).correlate(None).with_for_update(skip_locked=True)
                connection.execute(delete(event_handlers).where(_HANDLER.handler.in_(free)))
        if not resumed:
            return 0
        with transaction(self._engine) as connection:
            waiting = and_(in_state(State.PAUSED), ~is_paused(_DELIVERY.handler, event_deliveries))
            held = (
                select(_DELIVERY.event_id, _DELIVERY.handler)
                .where(waiting, _DELIVERY.handler.in_(resumed))
                .limit(limit)
                .with_for_update(skip_locked=True, of=event_deliveries)
            )
            keys = locked(connection, held)
            again = update(event_deliveries).where(is_key(key_table(self._dialect)), waiting)
            return connection.execute(again.values(state=State.PENDING), keys).rowcount

    def bring_home(self, limit: int) -> int:
        return bring_home(self._engine, limit)

    def is_away(self, error: BaseException) -> bool:
        return is_away(error)

    def explained(self, error: BaseException) -> str:
        return explained(error, self._engine.url.username)

    def expire_leases(self, limit: int, outage: timedelta | None = None, ended_ago: timedelta = timedelta(0)) -> int:
        with transaction(self._engine) as connection:
            unfold_ended(connection, limit, ended_ago)
            now = now_plus(connection)
            in_outage = _DELIVERY.due_at >= now_plus(connection, -outage) if outage else false()
            query = (
                select(
                    _DELIVERY.event_id,
                    _DELIVERY.handler,
                    _DELIVERY.attempts,
                    _DELIVERY.attempts_before,
                    _DELIVERY.worker,
                    _DELIVERY.grouped,
                    in_outage.label("in_outage"),
                )
                .where(in_state(State.RUNNING), _DELIVERY.due_at <= now_plus(connection, -ended_ago))
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
            rows = connection.execute(query).all()
            most = {handler: max_attempts(connection, handler) for handler in {row.handler for row in rows}}
            for row in rows:
                this = is_still((row.event_id, row.handler, row.attempts))
                attempt = row.attempts - row.attempts_before
                last = attempt >= most[row.handler]
                lost = WorkerLost(f"worker {row.worker} died, or let its lease run out, during attempt {attempt}")
                failure = failure_without_trace(lost)
                if row.in_outage and interrupt(connection, this, f"{failure.error_type}: {failure.error}", AWAY):
                    continue
                if row.grouped:  # which delivery of the group was to blame is unknown
                    alone = {"alone": True, "attempts_before": _DELIVERY.attempts_before + 1}
                    fail(connection, this, failure, Outcome.HANDED_BACK, now, row.attempts, **alone)
                elif last:
                    fail(connection, this, failure, Outcome.DEAD)
                else:
                    fail(connection, this, failure, Outcome.RETRY, now, row.attempts)
        return len(rows)

    def take_uncopied(self, limit: int) -> list[DeadLetter]:
        key = tuple_(_DELIVERY.event_id, _DELIVERY.handler)
        uncopied = select(*key).where(in_state(State.DEAD), _DELIVERY.copied.is_(False))
        newest = uncopied.order_by(_DELIVERY.finished_at.desc(), _DELIVERY.event_id).limit(limit)
        with look(self._engine) as connection:
            # A letter that another transaction has locked couldn't be marked, and would be copied again and again.
            free = [tuple(row) for row in connection.execute(newest.with_for_update(skip_locked=True))]
            if not free:
                return []
            sizes = connection.scalars(sizes_of(DeadLetterFilter(limit=limit), key.in_(free)))
            count = len([total for total in accumulate(sizes) if total <= _AT_ONCE])
            return find(connection, DeadLetterFilter(limit=max(count, 1)), key.in_(free))

    def mark_copied(self, letters: Collection[DeadLetter]) -> None:
        with transaction(self._engine) as connection:
            # A letter that died again since has a new death, not yet copied. A delivery that can't be sent dies without
            # an attempt, so replays count, too.
            keys, death = key_table(self._dialect), _DELIVERY.attempts + _DELIVERY.replays
            connection.execute(
                update(event_deliveries)
                .where(unlocked(and_(is_key(keys), death == keys.c.number, is_of_state(State.DEAD))))
                .values(copied=True),
                key_values(
                    self._dialect,
                    [(letter.event_id, letter.handler, letter.attempts + letter.replays) for letter in letters],
                ),
            )


def _resumed() -> "Select[Any]":
    """Select handlers that aren't paused, but have a paused delivery: by an index, from one handler to the next."""
    paused = in_state(State.PAUSED)
    first = select(func.min(_DELIVERY.handler).label("handler")).where(paused).cte("held", recursive=True)
    step = first.alias("step")
    following = select(func.min(_DELIVERY.handler)).where(paused, _DELIVERY.handler > step.c.handler).scalar_subquery()
    held = first.union_all(select(following).where(step.c.handler.is_not(None)))
    switch = exists().where(_HANDLER.handler == held.c.handler, _HANDLER.paused == true())
    return select(held.c.handler).where(held.c.handler.is_not(None), ~switch)


_RESUMED = _resumed()


@cache
def _missing(dialect: str) -> "Select[bool, bool, bool, bool, bool, bool]":
    """The columns of Missing, each by an index of its own."""
    ended = exists().where(in_state(State.RUNNING), _DELIVERY.due_at <= moment(dialect, "ended"))
    of_group = exists().where(event_leases.c.until <= moment(dialect, "ended"))
    forgotten = _HANDLER.paused.is_(False), _HANDLER.changed_at < moment(dialect, "forgotten")
    overdue = in_state(State.SENT), _DELIVERY.due_at <= moment(dialect)
    return select(
        or_(ended, of_group),
        or_(exists(_RESUMED), exists().where(*forgotten)),
        exists().where(has_changed(dialect)),
        exists().where(*overdue),
        exists().where(in_state(State.DEAD), _DELIVERY.copied.is_(False)),
        is_any_unsettled(),
    )
