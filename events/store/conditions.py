"""Conditions that many statements share, written in the form in which the planner uses the indexes of these tables."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, case, func, literal_column, or_, select, true

from events.ledger import Mark, State
from events.store.tables import event_deliveries, event_handlers, event_store


def has_mark(mark: Mark) -> ColumnElement[bool]:
    """A condition on `fanned_out`, with the number written out for the planner."""
    return event_store.c.fanned_out == literal_column(str(mark.value))


def in_state(*states: State) -> ColumnElement[bool]:
    """The delivery is in one of these states; they are written out, so that the planner uses the partial index."""
    return or_(*(event_deliveries.c.state == literal_column(f"'{state.value}'") for state in states))


def is_of_state(state: State) -> ColumnElement[bool]:
    """`in_state` for deliveries that are found by their keys, written so that the planner can't use a partial index.

    It would take one that it believes to be nearly empty, and walk over all that was done since the last VACUUM.
    """
    return func.coalesce(event_deliveries.c.state, "") == literal_column(f"'{state.value}'")


def is_paused(handler: ColumnElement[str], of: Table) -> ColumnElement[bool]:
    """An operator has paused this handler, a column of the table `of`.

    A transaction that asks holds a ROW SHARE lock of the table until it ends: so `pause` sees which transactions may
    have asked before it. See `operating.pausing`.
    """
    switch: Select[Any] = select(literal_column("1")).where(
        event_handlers.c.handler == handler, event_handlers.c.paused == true()
    )
    return switch.correlate(of).with_for_update(read=True, key_share=True).exists()


def waits() -> ColumnElement[str]:
    """The state of a delivery that waits to be sent: `paused` instead of `pending` if its handler is paused."""
    paused = is_paused(event_deliveries.c.handler, event_deliveries)
    return case((paused, literal_column("'paused'")), else_=literal_column("'pending'"))


def was_due() -> ColumnElement[datetime]:
    """When a pending or sent delivery was first due, so that it is due at once when its wait ends."""
    delivery = event_deliveries.c
    sent_first = case((delivery.attempts == 0, delivery.created_at), else_=delivery.sent_at)
    return case((in_state(State.SENT), sent_first), else_=delivery.due_at)
