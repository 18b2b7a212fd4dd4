"""New events of the types that somebody wants, found type by type: those that nobody wants stand in nobody's way."""

from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, bindparam, exists, func, literal_column, select, true

from events.store.tables import event_store, event_subscriptions, is_new

_EVENT, _SUBSCRIPTION = event_store.c, event_subscriptions.c
IN_LINE = (_EVENT.timestamp, _EVENT.id)
_AS_MANY = 3  # times as many as wanted are looked at, since other relays hold some of them


@cache
def new_events(dialect: str) -> "Select[Any]":
    """The oldest `most` of all wanted types that no other relay holds: id, event_type and timestamp, locked."""
    wanted, most = _wanted(), bindparam("most", type_=Integer)
    columns = (_EVENT.id, _EVENT.event_type, _EVENT.timestamp)
    if dialect == "sqlite":  # which knows no LATERAL; one writes at a time, so all of them are free
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
    of_type = line.limit(most * _AS_MANY).correlate(wanted).lateral("of_type")
    oldest = select(of_type.c.id, of_type.c.timestamp).select_from(wanted.join(of_type, true()))
    oldest = oldest.order_by(of_type.c.timestamp, of_type.c.id).limit(most * _AS_MANY)
    first = oldest.subquery("first")
    # One by one and in order: no more are locked than are taken, and there may be fewer than the planner believes.
    this = select(*columns).where(_EVENT.id == first.c.id, is_new).limit(1).correlate(first)
    this = this.with_for_update(skip_locked=True)
    found = this.lateral("found")
    taken = select(found.c.id, found.c.event_type, found.c.timestamp).select_from(first.join(found, true()))
    return taken.order_by(first.c.timestamp, first.c.id).limit(most)


def is_anything_new() -> ColumnElement[bool]:
    """Whether there is an event of a wanted type."""
    wanted = _wanted()
    return exists(select(wanted.c.event_type).where(_first(literal_column("1"), wanted).is_not(None)))


def first_stored() -> "Select[Any]":
    """When the event was stored that waits longest, of those first in line of their type."""
    wanted = _wanted()
    return select(func.min(_first(_EVENT.created_at, wanted)))


def _wanted() -> Any:
    return select(_SUBSCRIPTION.event_type).distinct().subquery("wanted")


def _first(column: ColumnElement[Any], wanted: Any) -> Any:
    """Of the first in line of a type. Ordered, though it is but one: else PostgreSQL may read until it meets one."""
    line = select(column).select_from(event_store).where(is_new, _EVENT.event_type == wanted.c.event_type)
    return line.order_by(*IN_LINE).limit(1).correlate(wanted).scalar_subquery()
