"""The ledger in numbers, for a page: all of one snapshot, or of two, which the page tells apart.

To count finished deliveries a database reads all of them. While they are few, all numbers of a page are of one
snapshot. When they are many, such a snapshot would be too old or too dear: then unfinished deliveries are counted
often, finished deliveries now and then, and the page marks every number of finished deliveries.
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
        overview: None if Flower has counted nothing yet.
        age: seconds since unfinished deliveries were counted.
        finished_age: seconds since finished deliveries were counted, the same as `age` if by the same snapshot; None
            if they were never counted.
    """

    overview: Overview | None
    age: float = 0.0
    finished_age: float | None = None

    @property
    def is_one_snapshot(self) -> bool:
        return self.finished_age is None or self.finished_age == self.age

    def finished(self, number: int) -> str:
        """A number of finished deliveries; with a sign, if it is of another snapshot than the other numbers."""
        if self.finished_age is None:
            return "…"
        return count(number) if self.is_one_snapshot else f"≈ {count(number)}"


def is_little(counted: Overview | None) -> bool:
    """Whether the ledger is so small that finished deliveries can be counted as often as unfinished ones."""
    return counted is not None and counted.rows <= LITTLE


def joined(fresh: Overview, counted: Overview) -> Overview:
    """The numbers of unfinished deliveries from `fresh`, those of finished deliveries from `counted`."""
    counted_types = {metrics.event_type: metrics for metrics in counted.event_types}
    counted_handlers = {metrics.handler: metrics for metrics in counted.handlers}
    types = [_type(metrics, counted_types.pop(metrics.event_type, None)) for metrics in fresh.event_types]
    types += [
        replace(metrics, waiting=0, lately=0, deliveries=_only(metrics.deliveries, finished=True))
        for metrics in counted_types.values()  # those that are finished as a whole
    ]
    return replace(
        fresh,
        finished=True,
        event_types=sorted(types, key=lambda metrics: metrics.event_type),
        handlers=[_handler(metrics, counted_handlers.get(metrics.handler)) for metrics in fresh.handlers],
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
