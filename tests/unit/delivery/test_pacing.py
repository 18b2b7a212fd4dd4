"""How long a handler takes, as a worker tells the ledger."""

from collections.abc import Callable

import pytest

from events.delivery import pacing
from events.delivery.pacing import Pacing
from events.ledger.records import GROUP_TIME, ONE_BY_ONE


class Told:
    """A ledger that only listens."""

    def __init__(self) -> None:
        self.paces: list[float] = []

    def note_pace(self, handler: str, seconds: float) -> None:
        self.paces.append(round(seconds, 6))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time; whoever changes it makes it pass."""
    now = [1000.0]
    monkeypatch.setattr(pacing.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def a_pace(told: Told) -> Pacing:
    return Pacing(told)  # type: ignore[arg-type]


def test_a_cold_start_counts_no_longer_when_a_second_delivery_is_measured(
    clock: list[float], told: Told, a_pace: Pacing
) -> None:
    # Given a first delivery that connected and imported, When the next ones take two milliseconds
    for seconds in (0.06, 0.002, 0.002):
        a_pace.note("hear", seconds)
        clock[0] += 0.2
    # Then that is what the ledger is told at once
    assert told.paces == [0.06, 0.002]


def test_one_slow_delivery_among_many_changes_little(clock: list[float], told: Told, a_pace: Pacing) -> None:
    for _ in range(50):
        a_pace.note("hear", 0.002)
    clock[0] += 60
    a_pace.note("hear", 0.01)
    assert told.paces == [0.002]
    # But a group is as many as it has deliveries
    clock[0] += 60
    a_pace.note("hear", 0.5, 50)
    assert told.paces[-1] == pytest.approx(0.006, abs=0.001)


def test_after_a_group_that_did_not_end_well_nothing_is_grouped_for_a_while(
    clock: list[float], told: Told, a_pace: Pacing
) -> None:
    # Given a fast handler
    a_pace.note("hear", 0.002)
    clock[0] += 60
    # When a group of it does not end well; Then that is told by a mark, which is no time
    a_pace.hindered("hear")
    assert told.paces == [0.002, ONE_BY_ONE]
    # And nothing else is told, while deliveries are done one by one
    for _ in range(70):
        clock[0] += 60
        a_pace.note("hear", 0.002)
    assert set(told.paces[1:]) == {ONE_BY_ONE}
    # And then so many more are grouped, until it is as fast as it was
    for _ in range(100):
        clock[0] += 60
        a_pace.note("hear", 0.002)
    first, *others = [pace for pace in told.paces[1:] if pace != ONE_BY_ONE]
    assert GROUP_TIME / 4 < first <= GROUP_TIME / 2
    assert others == sorted(others, reverse=True)
    assert others[-1] == pytest.approx(0.002, rel=0.3)


def test_a_handler_that_is_slow_by_itself_shows_how_slow_it_is_though_its_group_did_not_end_well(
    clock: list[float], told: Told, a_pace: Pacing
) -> None:
    a_pace.note("hear", 0.3)
    clock[0] += 60
    a_pace.hindered("hear")
    clock[0] += 60
    a_pace.note("hear", 0.3)
    assert told.paces == [0.3]


@pytest.mark.parametrize("seconds", [0.002, 0.3])
def test_what_changes_more_than_rows_is_marked_for_good(
    clock: list[float], told: Told, a_pace: Pacing, seconds: float
) -> None:
    # Given a handler that turns out to change more than rows
    a_pace.keep_apart("hear")
    # When it has done many deliveries; Then nothing but the mark was told
    for _ in range(500):
        clock[0] += 60
        a_pace.note("hear", seconds)
    assert set(told.paces) == {ONE_BY_ONE}


@pytest.mark.parametrize("mark", [Pacing.hindered, Pacing.keep_apart])
def test_what_one_process_found_out_stands_though_another_measures_a_fast_handler(
    clock: list[float], told: Told, mark: Callable[[Pacing, str], None]
) -> None:
    # Given two processes of a worker, one of which has found out that the handler's groups don't end well
    hindered, lucky = Pacing(told), Pacing(told)  # type: ignore[arg-type]
    hindered.note("hear", 0.002)
    clock[0] += 60
    mark(hindered, "hear")
    # When the other one tells how fast the handler is
    clock[0] += 1
    lucky.note("hear", 0.002)
    assert told.paces[-1] == 0.002
    # Then the mark stands again some seconds later, and nobody overrules it
    for _ in range(10):
        clock[0] += 0.5
        hindered.note("hear", 0.002)
        lucky.note("hear", 0.002)
    assert told.paces[-1] == ONE_BY_ONE


def test_a_group_that_ends_badly_again_is_told_at_once(clock: list[float], told: Told, a_pace: Pacing) -> None:
    # Given a handler whose groups don't end well, and another process that has told how fast it is
    a_pace.note("hear", 0.002)
    clock[0] += 1
    a_pace.hindered("hear")
    told.note_pace("hear", 0.002)
    # When one more group ends badly; Then the mark stands again, without any time
    a_pace.hindered("hear")
    assert told.paces[-1] == ONE_BY_ONE
