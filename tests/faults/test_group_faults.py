"""Many deliveries in one message, with real workers: fewer messages, and the same promise whatever dies in between."""

from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import shop
from events import publish
from events.ledger.records import GROUP_TIME
from support.size import sized
from support.system import MODES, System
from support.waiting import eventually

MANY = sized(400, 4_000)
MIDDLE = 150


def each_once(events: list[shop.Tick]) -> Counter[tuple[str, str]]:
    return Counter({(str(event.event_id), "counts"): 1 for event in events})


def ids(events: list[shop.Tick]) -> list[UUID]:
    return [event.event_id for event in events]


def held_in_a_group(system: System, folder: Path) -> tuple[list[shop.Tick], list[shop.Tick], Path]:
    """One of many waits for a file, in the middle of a group: these, what was done before them, and the file.

    Only what is fast shares a transaction, and a machine may be slow for a while.
    """
    before: list[shop.Tick] = []
    for number in range(20):
        publish(warm := [shop.Tick() for _ in range(100)])
        system.settled(100, *ids(warm))
        go_on = folder / f"go on {number}"
        events = [shop.Tick(hold=str(go_on) if place == MIDDLE else "") for place in range(200)]
        publish(events)
        eventually(lambda held=events[MIDDLE].event_id: system.starts(held), "it is in the middle")
        before += warm
        if running(system, events[MIDDLE]).grouped:
            return events, before, go_on
        go_on.touch()
        system.settled(200, *ids(events))
        before += events
    raise AssertionError("it never was in a group")


def running(system: System, event: shop.Tick) -> Any:
    """The row of a delivery that runs for long: what runs in a group is to be seen there after a second."""

    def row() -> Any:
        (found,) = system.deliveries(event.event_id)
        return found if found.state == "running" else None

    return eventually(row, "it is seen to run")


@pytest.mark.parametrize("mode", MODES)
def test_a_backlog_arrives_in_fewer_messages_than_deliveries(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path).in_use() as system:
        # Given a handler that is known to be fast, and a backlog of it
        first = system.start_worker()
        publish(before := [shop.Tick() for _ in range(50)])
        system.settled(50)
        first.stop()

        def is_fast() -> bool:
            paces = system.pipeline.ledger.subscriptions.paces().items()
            (pace,) = [pace for name, pace in paces if name == "counts"]
            return pace.seconds is not None and pace.seconds < GROUP_TIME / 4

        was_fast = is_fast()
        events = [shop.Tick() for _ in range(MANY)]
        publish(events)
        # When a worker starts
        worker = system.start_worker()
        # Then every delivery succeeds, at its first attempt, with its effect once
        assert system.settled(MANY, *ids(events)) == {"succeeded": MANY}
        assert system.effects() == each_once([*before, *events])
        assert {row.attempts - row.attempts_before for row in system.deliveries()} == {1}

        # And far fewer tasks were run than there were deliveries, if the machine was fast enough all the time
        worker.stop()
        tasks = worker.log.read_text().count(" -> counts ok ")
        assert tasks
        if was_fast and is_fast():
            assert tasks <= MANY * 0.8


@pytest.mark.parametrize("mode", MODES)
def test_one_in_a_group_that_kills_its_process_is_the_only_one_counted(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path).in_use() as system:
        # Given 200 events, one of which kills the process that handles it
        events = [shop.Tick(deadly=number == MIDDLE) for number in range(200)]
        deadly, good = events[MIDDLE], [event for event in events if not event.deadly]
        publish(events)
        # When a worker has run them
        worker = system.start_worker()
        assert system.settled(200) == {"succeeded": 199, "dead": 1}
        # Then that one is a dead letter after its three attempts, besides the one that it may have had in a group
        (row,) = system.deliveries(deadly.event_id)
        assert (row.state, row.attempts - row.attempts_before) == ("dead", 3)
        assert len(system.starts(deadly.event_id)) in (3, 4)
        assert row.error_type.endswith("WorkerLost")
        # And all others have succeeded, with their effect once, and at their first attempt that counts
        assert system.effects() == each_once(good)
        assert {row.attempts - row.attempts_before for row in system.deliveries(*ids(good))} == {1}
        assert worker.alive()


@pytest.mark.parametrize("mode", MODES)
def test_a_worker_that_is_killed_in_the_middle_of_groups_loses_and_doubles_nothing(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path).in_use() as system:
        # Given a worker in the middle of a group
        worker = system.start_worker()
        events, before, go_on = held_in_a_group(system, tmp_path)
        # When all of its processes are killed
        worker.kill()
        go_on.touch()
        # Then another does what is left, each once, and the attempt that was cut short doesn't count
        system.start_worker()
        done = len(before) + len(events)
        assert system.settled(done) == {"succeeded": done}
        assert system.effects() == each_once([*before, *events])
        # (what the other process ran by itself, if anything, was cut short as well, and counts)
        cut_short = [row for row in system.deliveries() if row.alone]
        assert {row.attempts - row.attempts_before for row in cut_short} == {1}


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "sqlite"])  # on SQLite all wait for the writer
def test_those_behind_a_slow_one_are_done_meanwhile(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path).in_use() as system:
        # Given a worker; When it is given 200, of which one takes as long as it likes
        system.start_worker()
        events, before, go_on = held_in_a_group(system, tmp_path)

        # Then nothing waits for it but what was done before it in its own transaction
        def nothing_waits() -> bool:
            states = system.states(*ids(events))
            return states["running"] <= 50 and states["succeeded"] + states["running"] == 200

        eventually(nothing_waits, "all others have succeeded, or run in its group")
        (row,) = system.deliveries(events[MIDDLE].event_id)
        assert (row.state, row.grouped) == ("running", True)
        # And when it is done, so is all, once
        go_on.touch()
        assert system.settled(200, *ids(events)) == {"succeeded": 200}
        assert system.effects() == each_once([*before, *events])
        assert {row.attempts - row.attempts_before for row in system.deliveries()} == {1}
