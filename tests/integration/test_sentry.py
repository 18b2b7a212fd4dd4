"""What Sentry gets of handlers that fail, in real workers, with our integration beside its own of Celery."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import reporting

from events import DomainEvent, publish
from support.system import System
from support.waiting import eventually

MANY = 6


@contextmanager
def worker_of(system: System, pool: str) -> Iterator[None]:
    """A worker in a process of its own, which loads Celery after Sentry, as users' workers do."""
    command = [sys.executable, "-m", "celery", "-A", "events", "worker", "-P", pool, "-c", "1", "-l", "INFO"]
    with subprocess.Popen(command, env=system.environment, cwd=system.folder, stderr=subprocess.DEVNULL) as worker:
        try:
            yield
        finally:
            worker.terminate()


def reports(system: System) -> dict[UUID, dict[str, Any]]:
    """What Sentry was told, by the event's id. Each has one report, and all have the name of an event."""
    file = system.folder / "starts"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    by_event = {UUID(line["tags"]["events.id"]): line for line in lines}
    assert len(by_event) == len(lines)
    return by_event


def is_the_users(report: dict[str, Any], event: Any, function: str) -> None:
    """The report's exception is the handler's own, at the handler's own line, and its tags are of this delivery."""
    (raised,) = report["exception"]["values"]
    assert (raised["type"], raised["value"]) == ("LookupError", f"no shelf {event.shelf}")
    last = raised["stacktrace"]["frames"][-1]
    assert (last["function"], Path(last["abs_path"]).name) == (function, "reporting.py")
    tags = report["tags"]
    assert tags["events.handler"] == report["transaction"] == function
    assert tags["events.type"] == event.event_name
    assert tags["events.correlation_id"] == str(event.event_id)
    assert report["level"] == "error"


@pytest.mark.parametrize(
    ("mode", "pool"), [("sqlite", "prefork"), ("sqlite", "threads"), ("sqlite", "solo"), ("redis", "prefork")]
)
def test_each_dead_letter_is_one_report_and_no_retry_is(mode: str, pool: str, tmp_path: Path) -> None:
    with System(mode, tmp_path, handlers="reporting").in_use() as system:
        # Given a worker, and a backlog that travels in groups
        events = [reporting.ShelvedAlone(shelf=number) for number in range(MANY)]
        publish(events)
        with worker_of(system, pool):
            # When each delivery fails twice
            assert system.settled(MANY) == {"dead": MANY}
        # Then each is reported once, with what its own last attempt left in the scope
        told = reports(system)
        assert told.keys() == {event.event_id for event in events}
        for event in events:
            report = told[event.event_id]
            is_the_users(report, event, "shelves")
            assert report["tags"]["events.attempt"] == 2
            assert report["tags"]["shelf"] == event.shelf
            assert report["tags"]["celery_task_id"]
            (crumb,) = [one for one in report["breadcrumbs"]["values"] if one.get("category") is None]
            assert crumb["message"] == f"looked at {event.shelf}"


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_those_that_run_side_by_side_are_told_apart(pool: str, tmp_path: Path) -> None:
    with System("sqlite", tmp_path, handlers="reporting").in_use() as system:
        events = [reporting.ShelvedAside(shelf=number) for number in range(MANY)]
        publish(events)
        with worker_of(system, pool):
            assert system.settled(MANY) == {"dead": MANY // 2, "succeeded": MANY // 2}
        told = reports(system)
        assert told.keys() == {event.event_id for event in events if event.shelf % 2}
        for event in events[1::2]:
            is_the_users(told[event.event_id], event, "shelves_aside")
            assert told[event.event_id]["tags"]["shelf"] == event.shelf


def test_of_a_batch_each_is_reported_that_fails_alone(tmp_path: Path) -> None:
    with System("sqlite", tmp_path, handlers="reporting").in_use() as system:
        events: list[DomainEvent] = [reporting.ShelvedInBatch(shelf=number) for number in range(2)]
        publish(events)
        with worker_of(system, "prefork"):
            assert system.settled(2) == {"dead": 2}
        told = reports(system)
        assert told.keys() == {event.event_id for event in events}
        for event in events:
            is_the_users(told[event.event_id], event, "shelves_in_batches")


def test_attempts_that_are_tried_again_are_warnings_if_somebody_wants_them(tmp_path: Path) -> None:
    with System("sqlite", tmp_path, handlers="reporting").in_use() as system:
        # Given an application that asks for them
        system.environment["SHOP_REPORTS_RETRIES"] = "yes"
        publish(reporting.ShelvedAlone(shelf=1))
        with worker_of(system, "prefork"):
            assert system.settled(1) == {"dead": 1}
        lines = [json.loads(line) for line in (system.folder / "starts").read_text().splitlines()]
        told = [(line["level"], line["tags"]["events.attempt"]) for line in lines]
        assert told == [("warning", 1), ("error", 2)]


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_celerys_signals_have_the_handlers_exception_of_a_retry_and_of_the_end(pool: str, tmp_path: Path) -> None:
    with System("sqlite", tmp_path, handlers="reporting").in_use() as system:
        publish(reporting.ShelvedAlone(shelf=1))
        signals = system.folder / "starts.signals"
        with worker_of(system, pool):
            assert system.settled(1) == {"dead": 1}
            told = eventually(
                lambda: signals.exists() and "failure" in signals.read_text() and signals.read_text(), "told"
            )
        assert told.splitlines() == [
            "retry DeliveryFailed LookupError no shelf 1",
            "failure DeliveryFailed LookupError no shelf 1",
        ]


def test_a_process_that_dies_is_reported_by_the_lines_that_celery_logs(tmp_path: Path) -> None:
    with System("sqlite", tmp_path, handlers="reporting").in_use() as system:
        publish(reporting.ShelvedForLast())
        file = system.folder / "starts"

        def told() -> set[str]:
            lines = file.read_text().splitlines() if file.exists() else []
            return {json.loads(line)["logger"] for line in lines}

        with worker_of(system, "prefork"):
            assert system.settled(1) == {"dead": 1}
            eventually(lambda: told() == {"multiprocessing", "celery.worker.request"}, "both are told")
