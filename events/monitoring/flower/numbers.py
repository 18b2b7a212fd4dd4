"""The ledger in numbers of two ages: what is under way is counted often, what is finished now and then."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from events.overview import EventMetrics, HandlerMetrics, Overview
from events.records import State

FINISHED = (State.SUCCEEDED, State.DISCARDED)


@dataclass(frozen=True, slots=True)
class Standing:
    """Numbers for a page.

    Attributes:
        overview: None if nothing was counted yet.
        age: seconds since what is under way was counted.
        finished_age: since what is finished was; None if it has never been.
    """

    overview: Overview | None
    age: float = 0.0
    finished_age: float | None = None


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
    if counted is None:
        return fresh
    return replace(
        fresh,
        count=max(counted.count, fresh.waiting),
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
