"""What relays read and write to send due deliveries. Keeps events.ledger.Outbox; each method is one transaction."""

from collections import Counter, defaultdict
from collections.abc import Collection
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Engine, Select, exists, func, or_, select, union_all, update

from events.ledger import (
    Arriving,
    DueDeliveries,
    Express,
    Failure,
    FannedOut,
    Group,
    Handled,
    Listener,
    Settled,
    State,
    Wakeup,
)
from events.store.arrivals import is_anything_new
from events.store.arriving import arriving
from events.store.conditions import in_state, waits
from events.store.database.engine import look, moment, moments, now_plus, transaction
from events.store.database.listener import PollingListener, PostgresListener, SqliteListener, wake_relays
from events.store.delivery_keys import not_started, wakeup_values
from events.store.due_deliveries import due_deliveries, mark_sent, wakeup_of
from events.store.fan_out import fan_out_few
from events.store.leases import is_leased
from events.store.low_water import LowWater
from events.store.marked_by_others import is_any_unsettled, settle
from events.store.passing_on import of_these, passed, passed_on
from events.store.tables import event_deliveries, event_leases
from events.store.waiting_queues import heads

_DELIVERY = event_deliveries.c
_OLD = timedelta(seconds=15)  # the time of a new event that came the usual way is not older
_SENT_BEFORE = timedelta(seconds=2)  # a delivery is marked as sent in a transaction that takes less
_ENDED = timedelta(seconds=10)  # a lease that ended so long ago is on its way to the next


class SqlOutbox:
    """Fan-out, and deliveries that are due.

    Args:
        handle_marked: fan out events that another program marked as processed all the same, instead of leaving them to
            it.
    """

    def __init__(self, engine: Engine, *, listen: bool, handle_marked: bool = True) -> None:
        self._engine = engine
        self._dialect = engine.dialect.name
        self._listen = listen
        self._handle_marked = handle_marked
        # Looks for other types have other marks: these come and go with the queues that are full.
        self._new: defaultdict[tuple[str, ...], LowWater] = defaultdict(lambda: LowWater(_OLD))
        self._on_the_way = LowWater(_SENT_BEFORE)

    def fan_out(self, limit: int, express: Express | None = None) -> FannedOut:
        if express is not None:
            return fan_out_few(self._engine, limit, express, self._new[()], self._on_the_way)
        with arriving(self._engine, limit) as new:  # nobody says what is sent at once
            pass
        return new.fanned_out

    def arriving(
        self,
        limit: int,
        *,
        handlers: Collection[Handled] | None = None,
        queues: Collection[str] | None = None,
        but: Collection[str] = (),
    ) -> AbstractContextManager[Arriving]:
        low_water = self._new[tuple(sorted(but))]
        return arriving(self._engine, limit, handlers, queues, but, low_water=low_water)

    def settle_marked(self, limit: int) -> Settled:
        return settle(self._engine, limit, handle=self._handle_marked)

    def waiting(self) -> dict[str, timedelta]:
        with look(self._engine) as connection:
            return {
                queue: max(timedelta(0), due_at - (now or datetime.now(UTC))) if due_at else timedelta.max
                for queue, due_at, now in connection.execute(_waiting(self._dialect), moments(self._dialect))
            }

    def in_flight(self) -> dict[str, Counter[str]]:
        counts: dict[str, Counter[str]] = {}
        with look(self._engine) as connection:
            for queue, handler, count in connection.execute(
                _in_flight(self._dialect), moments(self._dialect, ended=-_ENDED)
            ):
                counts.setdefault(queue, Counter())[handler] = count
        return counts

    def due(
        self,
        queue: str,
        limit: int,
        handlers: Collection[Handled] | None = None,
        but: Collection[str] = (),
        forms: Collection[tuple[str, str]] = (),
    ) -> AbstractContextManager[DueDeliveries]:
        return due_deliveries(self._engine, queue, limit, handlers, but, forms)

    def take_passed(
        self,
        queues: Collection[str],
        limit: int,
        stale_after: timedelta,
        handlers: Collection[Handled],
        forms: Collection[tuple[str, str]],
    ) -> list[Group]:
        which = {"queues": sorted(queues), "most": limit, "forms": sorted(forms)} | of_these(handlers)
        # Nearly always there is nothing to take, so neither a transaction nor a lock is taken.
        with look(self._engine) as connection:
            if connection.execute(passed(self._dialect), which | {"most": 1} | moments(self._dialect)).first() is None:
                return []
        with transaction(self._engine) as connection:
            locked = passed(self._dialect).with_for_update(skip_locked=True)
            rows = connection.execute(locked, which | moments(self._dialect)).all()
            groups: list[Group] = [(wakeup_of(row, row.queue),) for row in rows]
            mark_sent(connection, groups, stale_after)
        return groups

    def hand_back(self, wakeups: Collection[Wakeup], delay: timedelta) -> int:
        with transaction(self._engine) as connection:
            if not delay:
                wake_relays(connection)
            back = update(event_deliveries).where(not_started(self._dialect), ~is_leased())
            return connection.execute(
                back.values(state=waits(), due_at=now_plus(connection, delay)),
                wakeup_values(self._dialect, wakeups),
            ).rowcount

    def pass_on(self, wakeups: Collection[Wakeup]) -> int:
        with transaction(self._engine) as connection:
            passing = (
                update(event_deliveries).where(not_started(self._dialect), ~is_leased()).values(passed_on(connection))
            )
            return connection.execute(passing, wakeup_values(self._dialect, wakeups)).rowcount

    def give_up(self, wakeup: Wakeup, failure: Failure) -> bool:
        with transaction(self._engine) as connection:
            dead = (
                update(event_deliveries)
                .where(not_started(self._dialect), ~is_leased())
                .values(
                    state=State.DEAD,
                    finished_at=now_plus(connection),
                    copied=False,
                    error_type=failure.error_type,
                    error=failure.error,
                    traceback=failure.traceback,
                )
            )
            return connection.execute(dead, wakeup_values(self._dialect, [wakeup])).rowcount == 1

    def due_in(self, *, copies: bool) -> timedelta | None:
        with look(self._engine) as connection:
            event, letter, clock, *times = connection.execute(_due_in(self._dialect), moments(self._dialect)).one()
        if event or (copies and letter):
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


# Each statement is built once: SQLAlchemy takes longer to build a statement than PostgreSQL to answer it.


@cache
def _in_flight(dialect: str) -> "Select[Any]":
    """Each state by its own index. A lease that ended long ago is left out."""
    columns = (_DELIVERY.queue, _DELIVERY.handler)
    sent = select(*columns).where(in_state(State.SENT))
    running = select(*columns).where(in_state(State.RUNNING), _DELIVERY.due_at > moment(dialect, "ended"))
    both = union_all(sent, running).subquery()
    return select(both.c.queue, both.c.handler, func.count()).group_by(both.c.queue, both.c.handler)


@cache
def _waiting(dialect: str) -> "Select[Any]":
    return select(heads(), moment(dialect))


@cache
def _due_in(dialect: str) -> "Select[Any]":
    uncopied = exists().where(in_state(State.DEAD), _DELIVERY.copied.is_(False))
    now, waiting = moment(dialect), heads()
    earliest = [
        select(func.min(waiting.c.due_at)),
        # Overdue deliveries wait in a long queue of the broker: they are looked at now and then, not waited for.
        select(func.min(_DELIVERY.due_at)).where(in_state(State.SENT), _DELIVERY.due_at > now),
        select(func.min(_DELIVERY.due_at)).where(in_state(State.RUNNING)),
        select(func.min(event_leases.c.until)),
    ]
    arrived = or_(is_anything_new(), is_any_unsettled())
    return select(arrived, uncopied, now, *(query.scalar_subquery() for query in earliest))
