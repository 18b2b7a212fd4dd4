"""Finds the queues that deliveries wait for."""

from typing import Any

from sqlalchemy import func, select

from events.ledger import State
from events.store.conditions import in_state
from events.store.tables import event_deliveries

_DELIVERY = event_deliveries.c


def heads() -> Any:
    """Select each queue that deliveries wait for, and the time at which its earliest is due: columns queue and due_at.

    The index is read from one queue to the next, whatever each holds: a backlog makes this query no slower.
    """
    pending = in_state(State.PENDING)
    first = select(func.min(_DELIVERY.queue).label("queue")).where(pending).cte("queues", recursive=True)
    step = first.alias("step")
    following = select(func.min(_DELIVERY.queue)).where(pending, _DELIVERY.queue > step.c.queue).scalar_subquery()
    queues = first.union_all(select(following).where(step.c.queue.is_not(None)))
    earliest = select(func.min(_DELIVERY.due_at)).where(pending, _DELIVERY.queue == queues.c.queue).scalar_subquery()
    return select(queues.c.queue, earliest.label("due_at")).where(queues.c.queue.is_not(None)).subquery("heads")
