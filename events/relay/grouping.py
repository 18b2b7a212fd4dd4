"""Which due deliveries share a message, and so a transaction: with one commit each, commits are the limit.

A message holds deliveries of one handler, as many as it handles within GROUP_TIME by the pace that workers measured. So
slow handlers are left out by themselves, and what is not many stays single: at low load, one event is one message.
"""

from collections.abc import Collection, Mapping, Sequence

from events.ledger import Due, Group, Pace

GROUP_TIME = 0.04  # seconds that a group may take
_AT_LEAST = 4  # messages that the last deliveries of a backlog make, so that several processes have something to do
_UNTRIED = 32  # deliveries of a handler in flight while nobody knows how long one takes
_UNKNOWN = Pace()  # of a handler whose subscription is gone


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
        due: of one queue, in the order in which they are due.
        in_flight: deliveries on the way, by handler.
        room: for so many messages.
        limit: more than so many due deliveries are not looked at, so a batch of that size is full.
        waited_for: untried handlers that nobody has tried for so long that the rest of theirs waits no longer.
    """
    apart = 1 if limit is not None and len(due) >= limit else _AT_LEAST  # with more behind it, there is work for all
    by_handler: dict[str, list[tuple[int, Due]]] = {}
    for place, one in enumerate(due):
        by_handler.setdefault(one.wakeup.handler, []).append((place, one))
    groups: list[tuple[int, Group]] = []
    for handler, waiting in by_handler.items():
        pace = paces.get(handler, _UNKNOWN)
        groups += [(place, (one.wakeup,)) for place, one in waiting if one.alone]
        together = [(place, one) for place, one in waiting if not one.alone]
        if is_untried(pace) and handler not in waited_for:
            together = together[: max(0, _UNTRIED - in_flight.get(handler, 0))]
        size = _size(len(together) // apart, pace, limit)
        if pace.linger:
            together = _without_lingering(together, pace.linger.total_seconds(), size)
        for start in range(0, len(together), size):
            part = together[start : start + size]
            groups.append((part[0][0], tuple(one.wakeup for _, one in part)))
    groups.sort(key=lambda found: found[0])
    return [group for _, group in groups[:room]]


def is_untried(pace: Pace) -> bool:
    """Nobody knows yet whether its deliveries may be grouped."""
    return pace.most > 1 and not pace.batch and pace.seconds is None


def _size(share: int, pace: Pace, limit: int | None) -> int:
    if pace.batch:
        return min(pace.most, limit or pace.most)
    if pace.seconds is None:
        return 1
    in_time = int(GROUP_TIME / max(pace.seconds, 1e-6))
    return max(1, min(pace.most, in_time, share))


def _without_lingering(waiting: list[tuple[int, Due]], linger: float, size: int) -> list[tuple[int, Due]]:
    """Whole batches go at once; what doesn't fill one waits, unless it has waited long enough."""
    rest = len(waiting) % size
    if not rest or waiting[-rest][1].age >= linger:
        return waiting
    return waiting[:-rest]
