"""A value that is slow to get is shown as it was, with its age, and got anew no more often than it is worth."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from events.flower.jobs import AT_ONCE, Jobs, JobState, Tell, TooMany
from events.monitoring.cached import LEAST, SHARE, Cached, Look
from support.waiting import eventually


class Counting:
    """Slow to get: as long as `gate` is shut, and then so many seconds on a clock of its own."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.times, self.now, self.seconds = 0, 100.0, seconds
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.error: Exception | None = None

    def get(self) -> int:
        self.begun.set()
        self.gate.wait(30)
        self.now += self.seconds
        if self.error:
            raise self.error
        self.times += 1
        return self.times

    def clock(self) -> float:
        return self.now


def look(cached: Cached[int], patience: float = 30) -> Look[int]:
    return asyncio.run(cached.look(patience))


def settled(cached: Cached[int]) -> bool:
    fetching = cached.refresh()
    return fetching is None or fetching.done()


def test_it_is_good_for_a_while() -> None:
    counting = Counting()
    cached = Cached(counting.get, counting.clock)
    assert look(cached).value == 1
    counting.now += LEAST - 1
    assert look(cached) == Look(1, LEAST - 1)
    counting.now += 2
    assert look(cached).value == 2


def test_what_is_cheap_is_got_often_however_busy_the_machine_is() -> None:
    # Given values that take long, of which the first two are cheap all the same
    counting = Counting(seconds=4)
    cached = Cached(counting.get, counting.clock, is_cheap=lambda value: value < 3)
    for value in (1, 2, 3):
        assert look(cached).value == value
        counting.now += LEAST + 1
    # Then from the third on they are kept for as long as they are worth
    assert look(cached).value == 3


def test_what_takes_long_is_got_seldom() -> None:
    counting = Counting(seconds=4)
    cached = Cached(counting.get, counting.clock)
    look(cached)
    counting.now += SHARE * 4 - 5
    assert look(cached).value == 1
    assert counting.times == 1


def test_nobody_waits_longer_than_he_likes() -> None:
    # Given something that takes its time
    counting = Counting()
    counting.gate.clear()
    cached = Cached(counting.get, counting.clock)
    # When two look, there is nothing yet, and it is got once
    assert look(cached, 0.01).value is None
    assert look(cached, 0.01).value is None
    counting.gate.set()
    assert look(cached).value == 1
    # And when it is old and slow, the old value is shown meanwhile
    counting.gate.clear()
    counting.now += LEAST + 1
    assert look(cached, 0.01) == Look(1, LEAST + 1)
    counting.gate.set()
    eventually(lambda: counting.times == 2, "it was got again")


def test_what_was_changed_while_it_was_got_is_got_once_more() -> None:
    counting = Counting()
    counting.gate.clear()
    cached = Cached(counting.get, counting.clock)
    cached.refresh()
    assert counting.begun.wait(30)
    cached.expire()
    counting.gate.set()
    assert look(cached).value in (1, 2)
    eventually(lambda: settled(cached) and counting.times == 2, "it was got again")


def test_what_failed_is_told_and_tried_again() -> None:
    counting = Counting()
    counting.error = OSError("away")
    cached = Cached(counting.get, counting.clock)
    assert look(cached).error is counting.error
    counting.error = None
    counting.now += 2
    assert look(cached) == Look(1, 0.0)


def work_that_waits(gate: threading.Event, told: list[Tell]) -> Callable[[Tell], str]:
    def work(tell: Tell) -> str:
        told.append(tell)
        gate.wait(30)
        tell(1, 2)
        return "both done"

    return work


def test_the_same_work_runs_once_at_a_time_and_says_how_it_ended() -> None:
    ended: list[bool] = []
    jobs, gate, told = Jobs(lambda: ended.append(True)), threading.Event(), list[Tell]()
    first = jobs.start("replay", "Replay", "ann", work_that_waits(gate, told))
    assert jobs.start("replay", "Replay", "bob", work_that_waits(gate, told)) is first
    gate.set()
    first.ended.result(30)
    assert (first.state, first.said, first.done, first.total) == (JobState.DONE, "both done", 1, 2)
    assert len(told) == len(ended) == 1


def test_work_that_is_stopped_ends_between_two_steps() -> None:
    jobs, gate = Jobs(), threading.Event()
    job = jobs.start("replay", "Replay", "ann", work_that_waits(gate, []))
    assert jobs.stop(job.id) is job
    gate.set()
    job.ended.result(30)
    assert (job.state, job.done) == (JobState.STOPPED, 1)
    assert jobs.stop(job.id) is None


def test_too_much_at_a_time_is_refused() -> None:
    jobs, gate = Jobs(), threading.Event()
    running = [jobs.start(str(number), "Replay", "ann", work_that_waits(gate, [])) for number in range(AT_ONCE)]
    with pytest.raises(TooMany):
        jobs.start("one more", "Replay", "ann", work_that_waits(gate, []))
    gate.set()
    for job in running:
        job.ended.result(30)


def test_a_process_that_ends_lets_a_value_under_way_arrive() -> None:
    # Given a process that asks for a value, and ends at once
    program = """
import threading
from events.monitoring.cached import Cached

def get():
    threading.Event().wait(0.3)
    print("got", flush=True)

Cached(get).refresh()
"""
    # Then no thread is ended in the middle of something, which C++ takes for a reason to abort
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("got\n", "")


def test_a_process_that_ends_waits_for_no_value_that_never_comes() -> None:
    program = """
import threading
from events.monitoring.cached import Cached

Cached(lambda: threading.Event().wait()).refresh()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
