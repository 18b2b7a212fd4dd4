"""What a worker does again and again while the database is away, and when it stops doing so."""

import logging
from collections.abc import Callable, Iterator

import pytest

from events.delivery import outages
from events.delivery.outages import GaveUp, Outages
from events.throttle import Throttle


class Away(Exception):
    pass


class InTheWay(Exception):
    pass


class OverTime(Exception):
    pass


class Judges:
    """An inbox that tells errors apart, and does nothing else."""

    def is_away(self, error: BaseException) -> bool:
        return isinstance(error, Away)

    def is_contention(self, error: BaseException) -> bool:
        return isinstance(error, InTheWay)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it would have waited, in seconds, each time."""
    waited: list[float] = []
    monkeypatch.setattr(outages.time, "sleep", waited.append)
    return waited


@pytest.fixture
def waiting() -> Outages:
    judges, throttle = Judges(), Throttle(logging.getLogger("events.delivery"))
    return Outages(judges, throttle, lambda error: isinstance(error, OverTime))  # type: ignore[arg-type]


def answering(*answers: object) -> Callable[[], object]:
    """An action that raises, or returns, one of these after the other."""
    left: Iterator[object] = iter(answers)

    def act() -> object:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return act


@pytest.mark.parametrize("trouble", [Away(), InTheWay(), OverTime()], ids=lambda error: type(error).__name__)
def test_what_the_database_does_not_take_now_is_done_when_it_does(
    waiting: Outages, pauses: list[float], trouble: Exception
) -> None:
    assert waiting.wait_out(answering(trouble, trouble, "done")) == "done"
    assert pauses == [0.1, 0.2]


def test_the_pauses_grow_up_to_a_second(waiting: Outages, pauses: list[float]) -> None:
    waiting.wait_out(answering(*[Away()] * 7, "done"))
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


def test_an_error_that_is_not_the_databases_is_raised_at_once(waiting: Outages, pauses: list[float]) -> None:
    with pytest.raises(KeyError):
        waiting.wait_out(answering(KeyError("a"), "done"))
    assert pauses == []


def test_a_time_limit_that_cuts_into_a_pause_ends_the_pause_alone(
    waiting: Outages, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a pause into which a handler's time limit cuts
    def cut(_: float) -> None:
        raise OverTime

    monkeypatch.setattr(outages.time, "sleep", cut)
    # Then the action is done all the same
    assert waiting.wait_out(answering(Away(), "done")) == "done"


def test_who_has_no_more_time_gives_up(waiting: Outages, pauses: list[float]) -> None:
    # Given a worker that is told to end while it waits
    told = iter([False, True])
    with pytest.raises(GaveUp) as raised:
        waiting.wait_out(answering(Away(), Away(), "done"), until=lambda: next(told))
    # Then it says what it has waited for
    assert isinstance(raised.value.__cause__, Away)
    assert pauses == [0.1]
