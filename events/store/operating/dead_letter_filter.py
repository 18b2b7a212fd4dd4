"""Turns a DeadLetterFilter into conditions of a query."""

from sqlalchemy import ColumnElement, and_, exists, func, or_, select

from events.ledger import Action, DeadLetterFilter, State
from events.store.conditions import in_state
from events.store.tables import event_actions, event_deliveries, event_store

_DELIVERY, _ACTION = event_deliveries.c, event_actions.c


def matching(wanted: DeadLetterFilter, state: State | None = None) -> list[ColumnElement[bool]]:
    """Return the conditions that are all true for the deliveries of the filter. `state` replaces the filter's own
    state.
    """
    state = state or (State.DISCARDED if wanted.discarded else State.DEAD)
    conditions: list[ColumnElement[bool]] = [in_state(state)]
    if state is State.DISCARDED:
        conditions.append(~_is_replaced())
    if wanted.handler is not None:
        conditions.append(_DELIVERY.handler == wanted.handler)
    if wanted.event_ids:
        conditions.append(_DELIVERY.event_id.in_(list(wanted.event_ids)))
    if wanted.error:
        error = _DELIVERY.error.icontains(wanted.error, autoescape=True)
        conditions.append(or_(_DELIVERY.error_type.icontains(wanted.error, autoescape=True), error))
    if wanted.since is not None:
        conditions.append(_DELIVERY.finished_at >= wanted.since)
    if wanted.before is not None:
        conditions.append(_DELIVERY.finished_at < wanted.before)
    if wanted.error_type is not None:
        conditions.append(_is(_DELIVERY.error_type, wanted.error_type))
    if wanted.place is not None:
        conditions.append(_is(_DELIVERY.place, wanted.place))
    event = event_store.alias().c  # an alias, since the query that uses the conditions may have joined the table
    its_event = event.id == _DELIVERY.event_id
    if wanted.event_type is not None:
        unknown = _DELIVERY.event_type.is_(None)  # fanned out by older code
        named = exists().where(its_event, event.event_type == wanted.event_type)
        conditions.append(or_(_DELIVERY.event_type == wanted.event_type, and_(unknown, named)))
    if wanted.aggregate_id is not None:
        conditions.append(exists().where(its_event, event.aggregate_id == wanted.aggregate_id))
    return conditions


def _is_replaced() -> ColumnElement[bool]:
    """Whether the last action on the delivery was to replace it by a corrected copy."""
    last = (
        select(_ACTION.action)
        .where(_ACTION.event_id == _DELIVERY.event_id, _ACTION.handler == _DELIVERY.handler)
        .order_by(_ACTION.acted_at.desc(), _ACTION.id.desc())
        .limit(1)
        .correlate(event_deliveries)
    )
    return func.coalesce(last.scalar_subquery(), "") == Action.EDIT.value


def _is(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """Compare a column that may be NULL where a DeadLetter has "". An index on the column stays usable."""
    return column == text if text else or_(column.is_(None), column == "")
