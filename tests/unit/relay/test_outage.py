"""What a relay makes of leases that ended, after an outage and after its own start."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from events.relay.outage import Outage

LEASE = 60.0


class Clock:
    """Seconds, as a test sets them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def started(clock: Callable[[], float]) -> Outage:
    outage = Outage(LEASE, clock)
    outage.may_have_been()
    return outage


def test_who_has_just_begun_waits_a_moment_and_then_goes_by_leases_that_ended_long_ago(clock: Clock) -> None:
    outage = started(clock)
    assert outage.ended_ago() is None
    clock.now += 5
    assert outage.ended_ago() == timedelta(seconds=LEASE)
    clock.now += LEASE
    assert outage.ended_ago() == timedelta(0)


def test_a_relay_that_begins_again_and_again_still_finds_what_was_lost(clock: Clock) -> None:
    # Given a lease that ended at 1000, and relays that live for ten seconds each
    ended_at, found_at = clock.now, None
    while found_at is None and clock.now < ended_at + 10 * LEASE:
        outage = started(clock)
        for _ in range(10):
            clock.now += 1
            ago = outage.ended_ago()
            if ago is not None and clock.now - ago.total_seconds() >= ended_at:
                found_at = found_at or clock.now
    # Then one of them takes it for lost, soon after a lease more has passed
    assert found_at is not None
    assert found_at - ended_at <= LEASE + 10


def test_after_an_outage_everybody_has_a_lease_to_come_back_and_what_ended_meanwhile_is_known(clock: Clock) -> None:
    # Given a relay that has run for long, and an outage of ten minutes
    outage = started(clock)
    clock.now += 10 * LEASE
    outage.over()
    clock.now += 1
    outage.begun()
    clock.now += 600
    outage.over()
    # Then none is lost for a lease, and what ended since it began is told from others
    assert outage.ended_ago() is None
    assert outage.since() == timedelta(seconds=601)
    clock.now += LEASE
    assert outage.ended_ago() == timedelta(0)
    assert outage.since() is not None
    # And nothing is left of it when that is long past
    clock.now += 2 * LEASE
    assert outage.since() is None
