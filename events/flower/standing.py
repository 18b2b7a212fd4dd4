"""The ledger in numbers, for a page: all of one moment, or else of two that are told apart.

To count what is finished a database reads all of it. While that is little, everything on a page is of one snapshot.
When it is much it would be too old, or too dear: then what is under way is counted often, what is finished now and
then, and the latter is marked as such wherever it stands.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from events.flower.formats import count
from events.ledger import EventMetrics, HandlerMetrics, Overview, State

FINISHED = (State.SUCCEEDED, State.DISCARDED)
LITTLE = 50_000  # rows, which a database counts in some tens of milliseconds


@dataclass(frozen=True, slots=True)
class Standing:
    """Numbers for a page.

    Attributes:
        overview: None if nothing was counted yet.
        age: seconds since what is under way was counted.
        finished_age: since what is finished was; None if it has never been. The same as `age`: at the same moment.
    """

    overview: Overview | None
    age: float = 0.0
    finished_age: float | None = None

    @property
    def is_one_snapshot(self) -> bool:
        return self.finished_age is None or self.finished_age == self.age

    def finished(self, number: int) -> str:
        """A number of what is finished, in words that say whether it is of the same moment as the others."""
        if self.finished_age is None:
            return "…"
        return count(number) if self.is_one_snapshot else f"≈ {count(number)}"


def is_little(counted: Overview | None) -> bool:
    """Whether all of it can be counted as often as what is under way."""
    return counted is not None and counted.rows <= LITTLE


def joined(fresh: Overview, counted: Overview) -> Overview:
    """What is under way from the one, what is finished from the other."""
    types = {one.event_type: one for one in counted.event_types}
    handlers = {one.handler: one for one in counted.handlers}
    names = {one.event_type for one in fresh.event_types}
    gone = [replace(one, waiting=0, lately=0, deliveries=_only(one.deliveries, finished=True))
            for one in counted.event_types if one.event_type not in names]  # fmt: skip
    return replace(
        fresh,
        finished=True,
        event_types=sorted(
            [_type(one, types.get(one.event_type)) for one in fresh.event_types] + gone, key=lambda one: one.event_type
        ),
        handlers=[_handler(one, handlers.get(one.handler)) for one in fresh.handlers],
    )


def _type(fresh: EventMetrics, counted: EventMetrics | None) -> EventMetrics:
    known = max(fresh.waiting, fresh.lately)
    if counted is None:
        return replace(fresh, count=known)
    return replace(
        fresh,
        count=max(counted.count, known),
        error_count=counted.error_count,
        deliveries=_mixed(fresh.deliveries, counted.deliveries),
    )


def _handler(fresh: HandlerMetrics, counted: HandlerMetrics | None) -> HandlerMetrics:
    if counted is None:
        return fresh
    return replace(fresh, error_count=counted.error_count, deliveries=_mixed(fresh.deliveries, counted.deliveries))


def _mixed(fresh: Mapping[str, int], counted: Mapping[str, int]) -> Mapping[str, int]:
    return {**_only(fresh, finished=False), **_only(counted, finished=True)}


def _only(states: Mapping[str, int], *, finished: bool) -> dict[str, int]:
    return {state: count for state, count in states.items() if (state in FINISHED) == finished}
