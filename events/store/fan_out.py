"""Turns events into deliveries, one for each handler that subscribed.

While workers keep up, the deliveries of the few new events are marked as sent in the same statement. This saves three
more statements, which would find, count and take them. A backlog is for `arriving`, which groups it.
"""

import secrets
import time
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Engine,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    literal_column,
    null,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql

from events.ledger import Express, FannedOut, Mark, State, Wakeup
from events.ration import CHEAP
from events.store.arrivals import is_anything_new, new_events
from events.store.conditions import in_state, is_paused
from events.store.database.engine import look, moment
from events.store.database.types import UtcDateTime, readable
from events.store.low_water import LowWater
from events.store.tables import event_deliveries, event_store, event_subscriptions

_DELIVERY, _EVENT, _SUBSCRIPTION = event_deliveries.c, event_store.c, event_subscriptions.c
COLUMNS = ("event_id", "handler", "queue", "event_type", "state", "due_at", "created_at")
MADE = (_DELIVERY.event_id, _DELIVERY.handler, _DELIVERY.queue, _DELIVERY.event_type, _DELIVERY.state)
DONE = {"processed": True, "fanned_out": Mark.FANNED_OUT.value}


def fan_out_few(engine: Engine, limit: int, express: Express, low_water: LowWater, on_the_way: LowWater) -> FannedOut:
    """Fan out what the express allows, on PostgreSQL by one statement. SQLite leaves all of it to `arriving`.

    Args:
        low_water: of new events.
        on_the_way: of deliveries that are sent.
    """
    with look(engine) as connection:
        if engine.dialect.name == "sqlite":
            return FannedOut(backlog=bool(connection.scalar(_IS_ANYTHING_NEW)))
        since, sent_since, begun = low_water.since, on_the_way.mark, time.monotonic()
        statement = _expressing(
            of_some=express.handlers is not None,
            in_some=express.queues is not None,
            with_running=express.count_running,
            since=since is not None,
            sent_since=sent_since is not None,
        )
        first, *others = connection.execute(
            statement,
            {
                "most": min(limit, express.events + 1),
                "few": express.events,
                "room": express.messages,
                "in_flight": express.in_flight,
                "stale_after": express.stale_after,
                "base": secrets.randbits(61),
                "handlers": sorted(express.handlers or ()),
                "queues": list(express.queues or ()),
                "since": since,
                "sent_since": sent_since,
            },
        ).all()
        seconds = time.monotonic() - begun
        low_water.looked(since, seconds, first.found, first.oldest)
        if first.found and seconds > CHEAP and on_the_way.is_old:
            found = connection.execute(_sent(since=sent_since is not None), {"sent_since": sent_since}).one()
            on_the_way.looked(sent_since, 0.0, found.sent, found.oldest)
    if first.found > first.events:
        return FannedOut(backlog=True, waits=first.found <= express.events)
    return told(first.events, [row for row in (first, *others) if row.event_id is not None])


def told(events: int, rows: Sequence[Any]) -> FannedOut:
    """Return the result of a fan-out; the rows are the deliveries that were made."""
    return FannedOut(
        events,
        sent=tuple(
            (Wakeup(row.event_id, row.handler, row.queue, 1, row.event_type, 1),)
            for row in rows
            if row.state == State.SENT
        ),
        waiting=sum(row.state == State.PENDING for row in rows),
        published=Counter(kind for _, kind in {(row.event_id, row.event_type) for row in rows}),
        made=Counter((row.event_type, row.handler) for row in rows),
    )


# Each statement is built once: SQLAlchemy takes longer to build a statement than PostgreSQL to answer it.

_IS_ANYTHING_NEW = select(is_anything_new())


@cache
def _sent(*, since: bool) -> Any:
    """Select the number of deliveries that are sent, and the time of the oldest, as `sent` and `oldest`."""
    columns = func.count().label("sent"), func.min(_DELIVERY.sent_at).label("oldest")
    some = select(*columns).where(in_state(State.SENT))
    return some.where(_sent_since()) if since else some


def _sent_since() -> ColumnElement[bool]:
    return _DELIVERY.sent_at >= bindparam("sent_since", type_=UtcDateTime)


@cache
def _expressing(*, of_some: bool, in_some: bool, with_running: bool, since: bool, sent_since: bool) -> "Select[Any]":
    """Make the deliveries of these events, and mark them as sent, if all that are sent at all can be at once.

    Otherwise nothing is done. A delivery that had to wait for room, for older ones, or for workers that don't keep up
    would be written once more, and those that come after it would find it waiting.
    """
    mine, now = new_events("postgresql", since=since).cte("mine"), moment("postgresql")
    few = select(func.count()).select_from(mine).scalar_subquery() <= bindparam("few", type_=Integer)
    place = func.row_number().over(order_by=(mine.c.timestamp, mine.c.id, _SUBSCRIPTION.handler))
    keeping_up = _keeping_up(in_some=in_some, with_running=with_running, sent_since=sent_since)
    sent = [
        _SUBSCRIPTION.batch.is_(False),
        _SUBSCRIPTION.orphaned_at.is_(None),
        ~is_paused(_SUBSCRIPTION.handler, event_subscriptions),
    ]
    now_or_later = (
        place <= bindparam("room", type_=Integer),
        func.coalesce(keeping_up.c.on_the_way + place <= bindparam("in_flight", type_=Integer), false()),
    )
    if of_some:
        handled = tuple_(_SUBSCRIPTION.handler, _SUBSCRIPTION.event_type)
        sent.append(handled.in_(bindparam("handlers", expanding=True)))
    if in_some:
        sent.append(_SUBSCRIPTION.queue.in_(bindparam("queues", expanding=True)))
    columns = place.label("place"), and_(*sent).label("at_once"), and_(*now_or_later).label("fits")
    wanted = deliveries_of(mine, first_state().label("waits"), *columns).outerjoin(
        keeping_up, keeping_up.c.queue == _SUBSCRIPTION.queue
    )
    all_wanted = wanted.cte("wanted")
    delivery = all_wanted.c
    late = exists().where(delivery.at_once, ~delivery.fits)
    may = and_(few, ~late)
    rows = select(
        delivery.id,
        delivery.handler,
        delivery.queue,
        delivery.event_type,
        case((delivery.at_once, State.SENT.value), else_=delivery.waits),
        case((delivery.at_once, moment("postgresql", "stale_after")), else_=now),
        now,
        case((delivery.at_once, now), else_=null()),
        case((delivery.at_once, bindparam("base", type_=BigInteger) + delivery.place), else_=null()),
    )
    return _marked_and_made(mine, (*COLUMNS, "sent_at", "message"), rows.where(may), may)


def _keeping_up(*, in_some: bool, with_running: bool, sent_since: bool) -> CTE:
    """The queues in which no delivery waits, with the number of deliveries that are on the way in each."""
    query = select(_SUBSCRIPTION.queue).distinct()
    if in_some:
        query = query.where(_SUBSCRIPTION.queue.in_(bindparam("queues", expanding=True)))
    queues = query.subquery("queues")
    theirs = _DELIVERY.queue == queues.c.queue
    waits = exists().where(in_state(State.PENDING), theirs, _DELIVERY.due_at <= moment("postgresql"))

    def count(state: State, *also: ColumnElement[bool]) -> Any:
        some = (
            select(_DELIVERY.queue).where(in_state(state), theirs, *also).limit(bindparam("in_flight", type_=Integer))
        )
        return select(func.count()).select_from(some.correlate(queues).subquery()).scalar_subquery()

    on_the_way = count(State.SENT, *([_sent_since()] if sent_since else []))
    if with_running:
        on_the_way += count(State.RUNNING)
    # Without MATERIALIZED, PostgreSQL might count anew for each event.
    return select(queues, on_the_way.label("on_the_way")).where(~waits).cte("keeping_up").prefix_with("MATERIALIZED")


def first_state() -> ColumnElement[str]:
    """The state of a new delivery that is not sent at once."""
    paused = is_paused(_SUBSCRIPTION.handler, event_subscriptions)
    return case((paused, State.PAUSED.value), else_=State.PENDING.value)


def deliveries_of(events: Any, *columns: Any) -> "Select[Any]":
    """Join these events (columns id and event_type) with each handler that subscribed to them."""
    return select(events.c.id, _SUBSCRIPTION.handler, _SUBSCRIPTION.queue, events.c.event_type, *columns).join_from(
        events, event_subscriptions, _SUBSCRIPTION.event_type == events.c.event_type
    )


def _marked_and_made(mine: CTE, columns: Sequence[str], rows: "Select[Any]", may: ColumnElement[bool]) -> "Select[Any]":
    """Return a row for each delivery that was made, in the order of the events; one of NULLs if there is none.

    Each has the number of events that were fanned out, of those that were `found`, and the time of the `oldest`.
    """
    done = update(event_store).where(_EVENT.id == mine.c.id, may).values(**DONE)
    marked = done.returning(_EVENT.id).cte("marked")
    insert = postgresql.insert(event_deliveries).from_select(columns, rows)
    insert = insert.on_conflict_do_nothing(index_elements=["event_id", "handler"])
    made = insert.returning(*MADE).cte("made")
    events = select(func.count()).select_from(marked).scalar_subquery().label("events")
    found = select(func.count()).select_from(mine).scalar_subquery().label("found")
    oldest = select(func.min(readable(mine.c.timestamp), type_=UtcDateTime)).scalar_subquery().label("oldest")
    in_line = (mine.c.timestamp, mine.c.id, made.c.handler)
    one = select(literal_column("1").label("one")).subquery("one")
    there = made.join(mine, mine.c.id == made.c.event_id)
    return select(made, events, found, oldest).select_from(one.outerjoin(there, true())).order_by(*in_line)
