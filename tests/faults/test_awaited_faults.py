"""Async handlers side by side in real workers: many at once on every pool, and each effect once whatever dies."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from awaits import Awaited, AwaitedBriefly

from events import publish
from support.system import System
from support.waiting import eventually

MANY = 40


@contextmanager
def system_of(mode: str, folder: Path, **settings: str) -> Iterator[System]:
    with System(mode, folder, handlers="shop,awaits", **settings).in_use() as system:
        yield system


def effects_of(*events: Awaited) -> Counter[tuple[str, str]]:
    handlers = {Awaited: "awaits", AwaitedBriefly: "awaits_briefly"}
    return Counter({(str(event.event_id), handlers[type(event)]): 1 for event in events})


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
@pytest.mark.parametrize("mode", ["sqlite", "postgres", "redis"])
def test_many_wait_at_once_in_a_process(mode: str, pool: str, tmp_path: Path) -> None:
    with system_of(mode, tmp_path) as system:
        # Given handlers that wait for the same thing, many more than the worker has processes or threads
        go_on = tmp_path / "go on"
        events = [Awaited(until=str(go_on)) for _ in range(MANY)]
        publish(events)
        system.start_worker(pool=pool)
        # Then far more of them have begun than it could await one by one
        eventually(lambda: sum(bool(system.starts(one.event_id)) for one in events) >= MANY // 2, "half have begun")
        # And all are done once it has come, each once
        go_on.touch()
        ids = [event.event_id for event in events]
        assert system.settled(MANY, *ids) == {"succeeded": MANY}
        assert system.effects(*ids) == effects_of(*events)


@pytest.mark.parametrize("mode", ["postgres", "rabbitmq"])
def test_what_a_killed_process_had_in_hand_is_done_once_elsewhere(mode: str, tmp_path: Path) -> None:
    with system_of(mode, tmp_path) as system:
        # Given a worker whose processes await many handlers
        go_on = tmp_path / "go on"
        events = [Awaited(until=str(go_on)) for _ in range(MANY)]
        publish(events)
        system.start_worker()
        eventually(lambda: sum(bool(system.starts(one.event_id)) for one in events) >= MANY // 2, "half have begun")
        # When one of them is killed, and then all may go on
        (begun, *_) = (one for one in events if system.starts(one.event_id))
        (process,) = system.started_by(begun.event_id)
        os.kill(process, signal.SIGKILL)
        go_on.touch()
        # Then every effect is there once, and nobody was blamed
        ids = [event.event_id for event in events]
        assert system.settled(MANY, *ids) == {"succeeded": MANY}
        assert system.effects(*ids) == effects_of(*events)


@pytest.mark.parametrize("mode", ["sqlite", "postgres", "redis"])
def test_what_a_killed_process_had_taken_along_does_not_wait_for_the_end_of_its_lease(
    mode: str, tmp_path: Path
) -> None:
    with system_of(mode, tmp_path, lease="10m", stale_after="10m") as system:
        # Given a process that has begun one delivery, and has taken others along
        go_on = tmp_path / "go on"
        first, others = Awaited(until=str(go_on)), [Awaited(until=str(go_on)) for _ in range(5)]
        publish(first)
        system.start_worker(concurrency=1)
        eventually(lambda: system.starts(first.event_id), "the first has begun")
        publish(others)
        eventually(lambda: all(system.starts(one.event_id) for one in others), "the others have begun")
        (process,) = system.started_by(first.event_id)
        # When it is killed
        os.kill(process, signal.SIGKILL)
        go_on.touch()
        # Then all come again long before the lease has ended, and nobody was blamed
        events = [first, *others]
        ids = [event.event_id for event in events]
        assert system.settled(6, *ids) == {"succeeded": 6}
        assert system.effects(*ids) == effects_of(*events)
        assert {row.attempts - row.attempts_before for row in system.deliveries(*ids)} == {1}


@pytest.mark.parametrize("do", ["kill", "write and kill"])
def test_a_handler_that_kills_its_process_is_found_among_its_neighbours(do: str, tmp_path: Path) -> None:
    with system_of("redis", tmp_path) as system:
        # Given one that kills its process each time, among others that wait in the same one
        doomed = Awaited(do=do)
        events = [Awaited() for _ in range(20)]
        publish([*events[:10], doomed, *events[10:]])
        worker = system.start_worker()
        # Then it is a dead letter, and they are done, each once
        ids = [event.event_id for event in events]
        assert system.settled(20, *ids) == {"succeeded": 20}
        assert system.settled(1, doomed.event_id) == {"dead": 1}
        assert system.effects() == effects_of(*events)
        assert worker.alive()


def test_a_handler_that_blocks_its_loop_is_named_killed_and_counted_alone(tmp_path: Path) -> None:
    with system_of("redis", tmp_path) as system:
        # Given one that blocks for ever, among others that are waiting
        go_on = tmp_path / "go on"
        blocks = AwaitedBriefly(do="block")
        events = [AwaitedBriefly() for _ in range(6)]
        publish([*events[:3], blocks, *events[3:]])
        worker = system.start_worker()
        # Then it is named in the log, and is a dead letter in the end; the others are done, each once
        worker.wait_for("handler awaits_briefly has blocked its event loop")
        ids = [event.event_id for event in events]
        assert system.settled(6, *ids) == {"succeeded": 6}
        assert system.settled(1, blocks.event_id) == {"dead": 1}
        assert system.effects() == effects_of(*events)
        assert not go_on.exists()


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_an_end_in_good_order_cancels_what_waits_and_counts_no_attempt(pool: str, tmp_path: Path) -> None:
    with system_of("redis", tmp_path) as system:
        # Given handlers that wait for long
        go_on = tmp_path / "go on"
        events = [Awaited(until=str(go_on)) for _ in range(4)]
        publish(events)
        worker = system.start_worker(pool=pool, shutdown_timeout="4s")
        eventually(lambda: all(system.starts(one.event_id) for one in events), "all have begun")
        # When the worker is told to end
        assert worker.stop() == 0
        # Then they were cancelled where they waited, and come again with no attempt counted
        assert len(list(tmp_path.glob("go on.cancelled.*"))) == 4
        rows = system.deliveries(*(event.event_id for event in events))
        assert [(one.state, one.attempts - one.attempts_before) for one in rows] == [("pending", 0)] * 4
        # And another worker does them, each once
        go_on.touch()
        system.start_worker(pool=pool)
        ids = [event.event_id for event in events]
        assert system.settled(4, *ids) == {"succeeded": 4}
        assert system.effects() == effects_of(*events)


def test_a_time_limit_ends_the_one_and_not_the_others(tmp_path: Path) -> None:
    with system_of("postgres", tmp_path) as system:
        # Given one that waits for what never comes, among others, and a limit of a second
        never = AwaitedBriefly(until=str(tmp_path / "never"))
        events = [AwaitedBriefly() for _ in range(6)]
        publish([*events, never])
        worker = system.start_worker(pool="threads")
        ids = [event.event_id for event in events]
        assert system.settled(6, *ids) == {"succeeded": 6}
        # Then it is a dead letter for its time limit, although this pool has none
        assert system.settled(1, never.event_id) == {"dead": 1}
        (letter,) = system.pipeline.dead_letters.show(never.event_id)
        assert letter.error_type.endswith("TimeLimitExceeded")
        assert worker.alive()
