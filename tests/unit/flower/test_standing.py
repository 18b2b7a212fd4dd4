"""The numbers on a page of Flower: of one moment, or else marked as of another one."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from events.flower.backend import Backend
from events.flower.standing import LITTLE, Standing, is_little, joined
from events.ledger.overview import EventMetrics, HandlerMetrics, Overview
from events.ledger.records import State


def overview(events: int, dead: int, *, finished: bool = True) -> Overview:
    """`events` are stored, and as many were handled, but for those that are dead."""
    states = {"dead": dead} | ({"succeeded": events - dead} if finished else {})
    return Overview(
        taken_at=datetime.now(UTC),
        finished=finished,
        event_types=[EventMetrics("Said", events if finished else 0, dead if finished else 0, deliveries=states)],
        handlers=[HandlerMetrics("hear", "q", ("Said",), deliveries=states, error_count=dead if finished else 0)],
        unhandled_types=[],
        oldest_due={},
        lag=0.0,
        parked={},
        workers=[],
    )


class Growing:
    """A ledger of which each look finds one event more, dead."""

    def __init__(self, events: int) -> None:
        self.numbers: Iterator[int] = count(events)
        self.looks: list[bool] = []

    def take(self, *, finished: bool = True, newest: int = 0) -> Overview:
        assert newest
        self.looks.append(finished)
        number = next(self.numbers)
        return overview(number, number, finished=finished)


def backend_of(overviews: Growing) -> Backend:
    pipeline: Any = SimpleNamespace(ledger=SimpleNamespace(overviews=overviews))
    return Backend(lambda: pipeline)


def test_while_all_of_it_can_be_counted_the_numbers_are_of_one_look() -> None:
    # Given a ledger with little in it, which changes; When a page asks for its numbers, again and again
    ledger = Growing(12)
    backend = backend_of(ledger)
    for _ in range(3):
        standing = asyncio.run(backend.standing())
        # Then what is stored is what is dead, and nothing is marked
        assert standing.overview is not None
        assert standing.overview.events == standing.overview.deliveries(State.DEAD)
        assert standing.finished(standing.overview.events) == str(standing.overview.events)
        backend.changed()
    # And what is under way was not counted once more by itself
    assert ledger.looks == [True] * 3


def test_what_takes_long_to_count_is_counted_seldom_and_marked() -> None:
    # Given a ledger with much in it; When a page asks, and somebody has acted, and it asks again
    ledger = Growing(LITTLE)
    backend = backend_of(ledger)
    asyncio.run(backend.standing())
    backend.changed()
    standing = asyncio.run(backend.standing())
    # Then all of it was counted once, and what is under way each time
    assert ledger.looks.count(True) == 1
    assert ledger.looks.count(False) == 2
    assert standing.overview is not None
    assert not standing.is_one_snapshot
    assert standing.finished(1234) == "≈ 1,234"


def test_what_has_not_been_counted_is_no_nought() -> None:
    assert Standing(overview(0, 14, finished=False)).finished(0) == "…"


@pytest.mark.parametrize(("events", "little"), [(0, True), (LITTLE // 3, True), (LITTLE, False)])
def test_events_deliveries_and_errors_cost(events: int, little: bool) -> None:
    assert is_little(overview(events, events)) is little
    assert not is_little(None)


def test_no_more_events_of_a_type_are_new_than_there_are() -> None:
    # Given a count from before the first event of a type, and from before some more of them
    fresh = overview(0, 0, finished=False)
    fresh = replace(fresh, event_types=[EventMetrics("New", lately=7), EventMetrics("Said", waiting=5)])
    # Then there are at least those that one can see
    assert {one.event_type: one.count for one in joined(fresh, overview(3, 0)).event_types} == {"New": 7, "Said": 5}
