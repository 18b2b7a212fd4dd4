"""What the processes of a worker count together."""

import os
import re
import threading
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from events.ledger.envelope import Envelope
from events.ledger.outcome import Outcome, Result
from events.ledger.records import Claim, FannedOut, Wakeup
from events.monitoring.rates import Activity
from events.monitoring.relay_counts import RelayCounts
from events.monitoring.worker_counts import OTHER, Done, WorkerCounts
from events.worker import parking as parked
from events.worker import validation

PAIRS = [("Said", "hear"), ("Said", "tell"), ("Sung", "hear")]
EACH = 10_000  # deliveries that each of several processes counts


@pytest.fixture
def tally() -> WorkerCounts:
    return WorkerCounts(PAIRS, ["eta"], slots=6)


def claim(event_type: str = "Said", handler: str = "hear", attempt: int = 1, age: float = 0.02) -> Claim:
    envelope = Envelope(uuid4(), "a-1", event_type, "{}", 1, datetime.now(UTC), 1, "{}")
    return Claim(envelope, handler, attempt, attempt, "w1", age)


def ends(tally: WorkerCounts, outcome: Outcome, one: Claim | None = None, took: float = 0.1) -> None:
    tally.attempted(one or claim(), Result(outcome), took)


def of(tally: WorkerCounts, event_type: str = "Said", handler: str = "hear") -> Done:
    (found,) = (done for done in tally.done() if (done.event_type, done.handler) == (event_type, handler))
    return found


def in_processes(*actions: Callable[[], None]) -> None:
    """Run each in a forked process of its own, all at once."""
    children = []
    for action in actions:
        with warnings.catch_warnings():  # newer Pythons warn of threads, which these children never look at
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                action()
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def test_each_outcome_is_counted_by_event_type_and_handler(tally: WorkerCounts) -> None:
    # Given attempts that end in every way
    for outcome in Outcome:
        ends(tally, outcome)
    ends(tally, Outcome.SUCCEEDED, claim("Sung"))
    # Then each is where it belongs; what was not ours, or unknown, is nobody's
    done = of(tally)
    assert (done.succeeded, done.retried, done.dead, done.handed_back) == (1, 1, 1, 1)
    assert of(tally, "Sung").succeeded == 1
    assert of(tally, handler="tell").succeeded == 0


def test_times_are_taken_where_they_mean_something(tally: WorkerCounts) -> None:
    # Given a first attempt that fails after 0.2 s, and a second that succeeds; and one that never reached its handler
    ends(tally, Outcome.RETRY, claim(age=0.004), took=0.2)
    ends(tally, Outcome.SUCCEEDED, claim(attempt=2, age=7), took=0.3)
    ends(tally, Outcome.HANDED_BACK, claim("Sung"), took=0)
    # Then the wait for the start is that of the first, the wait for the end that of the success, and both took time
    done = of(tally)
    assert (done.commit_to_start.count, done.commit_to_start.total) == (1, 0.004)
    assert done.commit_to_done.count == 1
    assert done.commit_to_done.total >= 7
    assert (done.in_handler.count, done.in_handler.total) == (2, 0.5)
    assert of(tally, "Sung").in_handler.count == 0


def test_what_is_not_registered_is_counted_as_other(tally: WorkerCounts) -> None:
    # Given a known handler with an event type that older code subscribed, and a handler that nobody knows
    ends(tally, Outcome.SUCCEEDED, claim("Shouted"))
    ends(tally, Outcome.DEAD, claim("Shouted", "nobody"))
    tally.parked("out of the blue")
    # Then both are counted, and no label was made of what they say
    assert of(tally, OTHER).succeeded == 1
    assert of(tally, OTHER, OTHER).dead == 1
    assert tally.parked_messages() == {"eta": 0, OTHER: 1}


def test_processes_that_count_at_once_lose_nothing(tally: WorkerCounts) -> None:
    # Given two pool processes, three for which there is no block of their own, and threads of the main process
    def as_child(index: int) -> Callable[[], None]:
        def run() -> None:
            tally.enter(index)
            for _ in range(EACH):
                ends(tally, Outcome.SUCCEEDED)

        return run

    def as_thread() -> None:
        for _ in range(EACH):
            ends(tally, Outcome.RETRY)

    threads = [threading.Thread(target=as_thread) for _ in range(2)]
    # When all count at once
    for thread in threads:
        thread.start()
    in_processes(*(as_child(index) for index in (0, 1, 40, 41, 42)))
    for thread in threads:
        thread.join()
    # Then every one is there
    done = of(tally)
    assert (done.succeeded, done.retried) == (5 * EACH, 2 * EACH)
    assert done.in_handler.count == 7 * EACH


def test_a_process_that_replaces_a_killed_one_goes_on_with_its_numbers(tally: WorkerCounts) -> None:
    # Given a child that counted, and was killed with the lock in its hand
    def counts_and_dies(index: int) -> Callable[[], None]:
        def run() -> None:
            tally.enter(index)
            ends(tally, Outcome.DEAD)
            with tally._lock:
                os.kill(os.getpid(), 9)

        return run

    for index in (0, 40):
        in_processes(counts_and_dies(index))

        def goes_on(index: int = index) -> None:
            tally.enter(index)
            ends(tally, Outcome.DEAD)

        # When another takes its place
        in_processes(goes_on)
    # Then nothing was lost, and nobody waits for the dead
    assert of(tally).dead == 4


def test_activity_is_what_was_done_since_it_was_last_asked(tally: WorkerCounts) -> None:
    # Given a tally with a past
    ends(tally, Outcome.SUCCEEDED)
    activity = Activity(tally)
    # When nothing happens, and then something
    assert activity.of_late() == {}
    ends(tally, Outcome.SUCCEEDED, claim("Said"))
    ends(tally, Outcome.SUCCEEDED, claim("Sung"))
    ends(tally, Outcome.RETRY)
    rates = activity.of_late()
    # Then it is that, by handler and whatever the event
    assert rates.keys() == {"hear"}
    assert rates["hear"]["succeeded"] > rates["hear"]["retried"] > rates["hear"]["dead"] == 0
    assert activity.of_late() == {}


def test_a_relay_counts_what_it_moved() -> None:
    moved = RelayCounts()
    moved.fanned_out(FannedOut(3, published={"Said": 2, "Sung": 1}, made={("Said", "hear"): 2}))  # type: ignore[arg-type]
    group = tuple(Wakeup(uuid4(), "hear", "q", 1, "Said") for _ in range(2))
    moved.sent([group, group])
    moved.expired(3)
    assert moved.published == {"Said": 2, "Sung": 1}
    assert moved.made == {("Said", "hear"): 2}
    assert moved.given_away == {("Said", "hear"): 4}
    assert moved.lost_workers == 3


def test_a_relay_that_meets_very_many_event_types_makes_no_more_labels() -> None:
    # Given room for three
    moved = RelayCounts(most=3)
    # When ten come, again and again
    for _ in range(2):
        for number in range(10):
            kind: Any = f"E{number}"
            moved.fanned_out(FannedOut(1, published={kind: 1}, made={(kind, "hear"): 1}))  # type: ignore[arg-type]
    # Then three are told apart, and none is missing
    assert moved.published == {"E0": 2, "E1": 2, "E2": 2, OTHER: 14}
    assert sum(moved.made.values()) == 20
    assert len(moved.made) == 4


def test_every_reason_to_park_a_message_is_known() -> None:
    source = Path(validation.__file__).read_text() + Path(parked.__file__).read_text()
    source += (Path(validation.__file__).parent / "consumer.py").read_text()
    found = set(re.findall(r'Problem\(\s*"([^"]+)"', source)) | {"expires", "eta"}
    assert len(found) > 10
    assert found == set(parked.ALL_REASONS)
