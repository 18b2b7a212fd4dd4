"""Retry policies decide; they are values."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import EventDataError, Retry, RetryAfter, minutes, seconds

OOPS = ConnectionError("oops")


def test_delays_grow_up_to_their_cap() -> None:
    policy = Retry(max_attempts=9, backoff=seconds(1), max_backoff=seconds(10), jitter=0)
    assert [policy.delay_after(OOPS, attempt) for attempt in range(1, 6)] == [
        seconds(1), seconds(2), seconds(4), seconds(8), seconds(10),
    ]  # fmt: skip


@given(st.integers(1, 5000), st.floats(0, 0.99), st.floats(0, 1000), st.floats(0, 1000))
def test_a_delay_stays_within_jitter_of_the_cap(attempt: int, jitter: float, backoff: float, cap: float) -> None:
    policy = Retry(max_attempts=10_000, backoff=seconds(backoff), max_backoff=seconds(cap), jitter=jitter)
    delay = policy.delay_after(OOPS, attempt)
    assert delay is not None
    assert timedelta(0) <= delay <= seconds(cap) * (1 + jitter) + seconds(0.001)


def test_the_last_attempt_and_what_is_never_retried_end_it() -> None:
    policy = Retry(max_attempts=2, never=(OSError,))
    assert policy.delay_after(ValueError(), 2) is None
    assert policy.delay_after(OOPS, 1) is None
    assert policy.delay_after(EventDataError(), 1) is None


def test_a_handler_may_name_its_own_delay() -> None:
    assert Retry().delay_after(RetryAfter(minutes(30)), 1) == minutes(30)
    assert Retry(max_attempts=1).delay_after(RetryAfter(5), 1) is None


@pytest.mark.parametrize("delay", [timedelta.max, timedelta(days=4_000_000), 1e12, float("inf")])
def test_a_delay_that_no_clock_has_is_refused(delay: timedelta | float) -> None:
    with pytest.raises(ValueError, match="ten years at most"):
        RetryAfter(delay)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"max_attempts": 0}, "max_attempts"), ({"jitter": 1}, "jitter"), ({"factor": 0.5}, "factor"),
     ({"backoff": seconds(-1)}, "backoff"), ({"never": ("x",)}, "never"),
     ({"max_backoff": timedelta.max}, "ten years"), ({"max_attempts": "3"}, "max_attempts"),
     ({"max_attempts": True}, "max_attempts"), ({"max_attempts": 1.5}, "max_attempts"),
     ({"max_attempts": 10**12}, "at most"), ({"backoff": 1}, "backoff=1.: a timedelta")],
)  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Retry(**wrong)  # type: ignore[arg-type]
