"""Decides which due deliveries share a message, and so a transaction: if each had its own, commits would be the limit.

A message holds deliveries of one handler, as many as the handler runs within GROUP_TIME by the pace that workers
measured. So deliveries of slow handlers stay single, and so do few deliveries: at low load, an event is a message.
Those that a running process may take along wait a moment for that: a message for each would bring nothing later on.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from events.ledger import GROUP_TIME, Due, Group, Pace

_AT_LEAST = 4  # messages that the last deliveries of a backlog make, so that several processes have something to do
_UNTRIED = 32  # deliveries of a handler that are in flight at most, until a worker has measured how long they take
_UNKNOWN = Pace()  # the pace of a handler whose subscription is gone


def make_groups(
    due: Sequence[Due],
    paces: Mapping[str, Pace],
    in_flight: Mapping[str, int],
    room: int | None = None,
    limit: int | None = None,
    waited_for: Collection[str] = (),
) -> list[Group]:
    """The messages to send now, in the order in which their first deliveries are due; the rest stays due.

    Args:
        due: the due deliveries of one queue, in the order in which they are due.
        paces: the paces of handlers, by name.
        in_flight: the numbers of deliveries on the way, by handler.
        room: the number of messages that there is room for; None for any number.
        limit: the number of due deliveries that the relay looks at, so a batch of that size is full; None for any.
        waited_for: handlers that have been untried for so long that the rest of their deliveries waits no longer.
    """
    apart = 1 if limit is not None and len(due) >= limit else _AT_LEAST  # with more to come, all processes have work
    by_handler: dict[str, list[tuple[int, Due]]] = {}
    for place, delivery in enumerate(due):
        by_handler.setdefault(delivery.wakeup.handler, []).append((place, delivery))
    groups: list[tuple[int, Group]] = []
    for handler, waiting in by_handler.items():
        pace = paces.get(handler, _UNKNOWN)
        groups += [(place, (delivery.wakeup,)) for place, delivery in waiting if delivery.alone]
        together = [(place, delivery) for place, delivery in waiting if not delivery.alone]
        if is_untried(pace) and handler not in waited_for:
            together = together[: max(0, _UNTRIED - in_flight.get(handler, 0))]
        size = _size(len(together) // apart, pace, limit)
        if pace.linger and (in_flight.get(handler) or not pace.is_taken_along):
            together = _without_lingering(together, pace.linger.total_seconds(), size)
        for start in range(0, len(together), size):
            part = together[start : start + size]
            groups.append((part[0][0], tuple(delivery.wakeup for _, delivery in part)))
    groups.sort(key=lambda group: group[0])
    return [group for _, group in groups[:room]]


def is_untried(pace: Pace) -> bool:
    """Whether no worker has measured the handler yet, so that nothing says whether its deliveries may be grouped."""
    return pace.most > 1 and not pace.batch and pace.seconds is None


def too_early(
    deliveries: Sequence[Due],
    paces: Mapping[str, Pace],
    in_flight: Mapping[str, Mapping[str, int]],
    waited_for: Collection[str],
) -> set[UUID]:
    """New events that wait until a handler has been tried. As deliveries they would wait, too, and be written again.

    Args:
        deliveries: those of the new events, in their order.
        in_flight: the numbers of deliveries on the way, by queue and handler.
    """
    tried = Counter[str]()
    early: set[UUID] = set()
    for wakeup in (one.wakeup for one in deliveries):
        if is_untried(paces.get(wakeup.handler, _UNKNOWN)) and wakeup.handler not in waited_for:
            tried[wakeup.handler] += 1
            if tried[wakeup.handler] + in_flight.get(wakeup.queue, {}).get(wakeup.handler, 0) > _UNTRIED:
                early.add(wakeup.event_id)
    return early


def not_begun(waiting: Sequence[Due], groups: Sequence[Group], paces: Mapping[str, Pace]) -> set[UUID]:
    """New events of which nothing is sent now, for want of room. What waits for its batch to fill is a delivery."""
    sent = {wakeup.event_id for group in groups for wakeup in group}
    of_none = (one.wakeup for one in waiting if not paces.get(one.wakeup.handler, _UNKNOWN).linger)
    return {wakeup.event_id for wakeup in of_none} - sent


def _size(share: int, pace: Pace, limit: int | None) -> int:
    if pace.batch:
        return min(pace.most, limit or pace.most)
    if pace.seconds is None:
        return 1
    in_time = int(GROUP_TIME / max(pace.seconds, 1e-6))
    return max(1, min(pace.most, in_time, share))


def _without_lingering(waiting: list[tuple[int, Due]], linger: float, size: int) -> list[tuple[int, Due]]:
    """Without the deliveries that don't fill a batch, unless they have waited long enough; whole batches go at once."""
    rest = len(waiting) % size
    if not rest or waiting[-rest][1].age >= linger:
        return waiting
    return waiting[:-rest]
