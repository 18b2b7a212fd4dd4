"""Finds new events of the types with a subscription, type by type; events without a subscription are skipped."""

from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    String,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
)

from events.store.database.types import UtcDateTime
from events.store.tables import event_store, event_subscriptions, is_new

_EVENT, _SUBSCRIPTION = event_store.c, event_subscriptions.c
IN_LINE = (_EVENT.timestamp, _EVENT.id)
_AS_MANY = 3  # for each event wanted, this many are looked at, since other relays hold some of them


@cache
def new_events(dialect: str, *, but_some: bool = False, of_one: bool = False, since: bool = False) -> "Select[Any]":
    """Lock the `most` oldest new events of all wanted types that no other relay holds: id, event_type and timestamp.

    Args:
        but_some: leave out types that are wanted in the queues `but` alone.
        of_one: only the type `of_type`, or all if that is "", as far as the handler `of_handler` wants it.
        since: only those that are not older than the time `since`; for PostgreSQL.
    """
    wanted, most = _wanted(but_some=but_some, of_one=of_one), bindparam("most", type_=Integer)
    columns = (_EVENT.id, _EVENT.event_type, _EVENT.timestamp)
    if dialect == "sqlite":  # SQLite has no LATERAL; only one transaction writes at a time, so all rows are free
        mine = event_store.alias("mine")
        first_of_type = (
            select(mine.c.id)
            .where(mine.c.processed.is_not(true()), mine.c.event_type == wanted.c.event_type)
            .order_by(mine.c.timestamp, mine.c.id)
            .limit(most)
            .correlate(wanted)
        )
        of_all = select(*columns).join_from(wanted, event_store, _EVENT.id.in_(first_of_type))
        return of_all.where(is_new).order_by(*IN_LINE).limit(most)
    line = select(*IN_LINE).where(is_new, _EVENT.event_type == wanted.c.event_type).order_by(*IN_LINE)
    if since:
        line = line.where(_EVENT.timestamp >= bindparam("since", type_=UtcDateTime))
    of_type = line.limit(most * _AS_MANY).correlate(wanted).lateral("of_type")
    oldest = select(of_type.c.id, of_type.c.timestamp).select_from(wanted.join(of_type, true()))
    oldest = oldest.order_by(of_type.c.timestamp, of_type.c.id).limit(most * _AS_MANY)
    first = oldest.subquery("first")
    # A row at a time, in order: so no more rows are locked than are taken, even if there are fewer rows than the
    # planner believes.
    this = select(*columns).where(_EVENT.id == first.c.id, is_new).limit(1).correlate(first)
    this = this.with_for_update(skip_locked=True)
    found = this.lateral("found")
    taken = select(found.c.id, found.c.event_type, found.c.timestamp).select_from(first.join(found, true()))
    return taken.order_by(first.c.timestamp, first.c.id).limit(most)


def is_anything_new(*, but_some: bool = False, of_one: bool = False) -> ColumnElement[bool]:
    """Whether there is a new event of a wanted type. For the arguments see `new_events`."""
    wanted = _wanted(but_some=but_some, of_one=of_one)
    return exists(select(wanted.c.event_type).where(_first(literal_column("1"), wanted).is_not(None)))


def first_stored() -> "Select[Any]":
    """Select for each wanted type the time at which the event that is first in line for it was stored, or NULL."""
    wanted = _wanted()
    return select(wanted.c.event_type, _first(_EVENT.created_at, wanted))


def count_of_one() -> "Select[Any]":
    """Count the new events that `of_one` selects: see `new_events`."""
    types = select(_wanted(of_one=True).c.event_type)
    return select(func.count()).select_from(event_store).where(is_new, _EVENT.event_type.in_(types))


def _wanted(*, but_some: bool = False, of_one: bool = False) -> Any:
    types = select(_SUBSCRIPTION.event_type).distinct()
    if but_some:
        types = types.where(_SUBSCRIPTION.queue.not_in(bindparam("but", expanding=True)))
    if of_one:
        this = bindparam("of_type", type_=String)
        types = types.where(
            _SUBSCRIPTION.handler == bindparam("of_handler"), or_(this == "", _SUBSCRIPTION.event_type == this)
        )
    return types.subquery("wanted")


def _first(column: ColumnElement[Any], wanted: Any) -> Any:
    """Select a column of the first event in line for a type.

    The query is ordered, though one row is as good as another for some callers: without an order PostgreSQL may read
    the whole table until it finds a row.
    """
    line = select(column).select_from(event_store).where(is_new, _EVENT.event_type == wanted.c.event_type)
    return line.order_by(*IN_LINE).limit(1).correlate(wanted).scalar_subquery()
