"""A handler is paused while real workers run, and resumed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import shop
from events import publish
from support.system import System
from support.waiting import eventually


@pytest.fixture(params=["postgres", "redis"])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    with System(request.param, tmp_path).in_use() as system:
        yield system


def test_a_paused_handler_starts_nothing_and_misses_nothing(system: System) -> None:
    # Given a worker, and an event that both its handlers have handled
    system.start_worker()
    publish(shop.OrderPlaced(order="o-0"))
    system.settled(2)
    # When one of them is paused, and events are published
    system.pipeline.upkeep.pause("book_order", "ann")
    events = [shop.OrderPlaced(order=f"o-{number}") for number in range(5)]
    ids = [event.event_id for event in events]
    publish(events)
    # Then the other goes on
    eventually(lambda: system.states(*ids) == {"succeeded": 5, "paused": 5}, "the other handler is done")
    # When it is resumed, it does what it missed, without anybody asking again
    system.pipeline.upkeep.resume("book_order", "ann")
    assert system.settled(10, *ids) == {"succeeded": 10}
    assert set(system.effects(*ids).values()) == {1}
