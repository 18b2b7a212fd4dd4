"""Failures that are alike: the first is told whole, the others are counted, no count is lost; and what fails again is
tried less often."""

import logging

import pytest

from events.throttle import Backoff, Repeats
from support.waiting import eventually

log = logging.getLogger("events.tested")


def test_the_first_of_a_kind_is_told_whole_and_all_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    repeats = Repeats(log, every=3600)
    # When failures of two kinds come
    for number in range(5):
        repeats.warn(("a", ValueError), f"a failed: {number}", ValueError(number), {})
    repeats.warn(("b", ValueError), "b failed", ValueError(), {})
    # Then the first of each is told with its traceback
    assert [(one.getMessage(), one.exc_info is not None) for one in caplog.records] == [
        ("a failed: 0", True), ("b failed", True),
    ]  # fmt: skip
    # And the others when it ends, once
    caplog.clear()
    repeats.flush()
    repeats.flush()
    assert caplog.messages == ["in the last 3600 s: a failed: 4 (and 3 more like it)"]


def test_now_and_then_it_tells_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    repeats = Repeats(log, every=0.05)
    for number in range(3):
        repeats.warn("kind", f"failed: {number}", ValueError(), {})
    eventually(lambda: len(caplog.messages) == 2, "it has told of the others")
    assert caplog.messages[1] == "in the last 0.05 s: failed: 2 (and 1 more like it)"
    # And again, if there are more
    repeats.warn("kind", "failed: 3", ValueError(), {})
    eventually(lambda: caplog.messages[2:] == ["in the last 0.05 s: failed: 3"], "it has told of one more")


def test_what_is_told_later_says_nothing_of_a_future_that_is_past(caplog: pytest.LogCaptureFixture) -> None:
    repeats = Repeats(log, every=10)
    # Given failures of which each says when it is tried again
    for number in range(3):
        extra = {"number": number}
        repeats.warn("kind", f"failed: {number}, again in 1 s", ValueError(), extra, f"failed: {number}")
    # When they are told together
    repeats.flush()
    # Then that is left out, and what else is known of the last is there
    assert caplog.messages == ["failed: 0, again in 1 s", "in the last 10 s: failed: 2 (and 1 more like it)"]
    assert [vars(one)["number"] for one in caplog.records] == [0, 2]


def test_of_very_many_kinds_none_takes_memory_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events.throttle._KINDS", 10)
    repeats = Repeats(log, every=3600)
    for number in range(100):
        repeats.warn(number, "failed", ValueError(), {})
        assert len(repeats._kinds) <= 11
    repeats.flush()


def test_what_was_quiet_for_long_is_new_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.throttle._FORGET_AFTER", 0.0)
    repeats = Repeats(log, every=3600)
    for _ in range(2):
        repeats.warn("kind", "failed", ValueError(), {})
    assert [one.exc_info is not None for one in caplog.records] == [True, True]


def test_of_several_that_are_final_the_first_is_told_whole() -> None:
    repeats = Repeats(log, every=3600)
    repeats.warn("kind", "failed", ValueError(), {})
    assert repeats.is_new("kind")
    assert not repeats.is_new("kind")
    assert repeats.is_new("other")


@pytest.mark.parametrize(
    ("backoff", "pauses"),
    [
        (Backoff(first=0.5, longest=15.0), [0.5, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]),
        (Backoff(first=0.1, longest=1.0), [0.1, 0.1, 0.2, 0.4, 0.8, 1.0]),
    ],
)
def test_each_pause_is_twice_as_long_as_the_one_before_up_to_the_longest(backoff: Backoff, pauses: list[float]) -> None:
    assert [backoff.after(failures) for failures in range(len(pauses))] == pauses


def test_something_may_fail_for_days() -> None:
    assert Backoff(first=0.2, longest=5.0).after(10**9) == 5.0
