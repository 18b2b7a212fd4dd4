"""Revoke and terminate, by remote control and by Flower's buttons: refused, or a failure that shows who it was."""

import json
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

import shop
from events import DomainEvent, publish
from events.transport.message import task_id
from support.flower import Flower
from support.system import System
from support.waiting import eventually

HANDLER = {shop.Patient: "waits_then_writes", shop.Flaky: "works_later", shop.Held: "held_open"}


def identity(event: DomainEvent) -> str:
    return task_id(event.event_id, HANDLER[type(event)])


def ask(system: System, command: str, **arguments: Any) -> list[dict[str, str]]:
    """The answer of this system's worker; workers of other tests may hear the same broker."""
    only = [system.worker_names[-1]]
    with Celery(broker=system.environment["EVENTS_BROKER_URL"], set_as_current=False) as app:
        answers = app.control.broadcast(command, arguments=arguments, destination=only, reply=True, timeout=60, limit=1)
    return [answer for one in answers for answer in one.values()]


def deeds(system: System, event: DomainEvent) -> list[tuple[str, str]]:
    found = system.pipeline.history.event(event.event_id)
    assert found is not None
    return [(deed.action, deed.actor) for deed in found.actions]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_is_revoked_runs_all_the_same_and_the_history_says_who_tried(pool: str, tmp_path: Path) -> None:
    with System("redis", tmp_path).in_use() as system:
        system.start_worker(pool=pool)
        # Given a delivery that runs, and one that will be tried again
        runs, again = shop.Patient(release=str(tmp_path / "release")), shop.Flaky(works_on_attempt=3)
        publish(runs)
        eventually(lambda: system.starts(runs.event_id), "it runs")
        # When both are revoked
        (answer,) = ask(system, "revoke", task_id=[identity(runs), identity(again)])
        assert "can't be revoked" in answer["error"]
        (answer,) = ask(system, "revoke_by_stamped_headers", headers={"customer": "17"})
        assert "can't be revoked" in answer["error"]
        # Then both run to their end
        publish(again)
        (tmp_path / "release").touch()
        assert system.settled(2, runs.event_id, again.event_id) == {"succeeded": 2}
        assert deeds(system, runs) == [("revoke", "remote control")]
        # And on a pool that can't end a handler, to terminate one is refused, too
        if pool == "threads":
            held = shop.Patient(release=str(tmp_path / "later"))
            publish(held)
            eventually(lambda: system.starts(held.event_id), "it runs")
            (answer,) = ask(system, "revoke", task_id=identity(held), terminate=True)
            assert "only the prefork pool" in answer["error"]
            (tmp_path / "later").touch()
            assert system.settled(1, held.event_id) == {"succeeded": 1}


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGKILL"])
def test_what_is_terminated_has_failed_by_whoever_did_it_and_is_tried_again(signal: str, tmp_path: Path) -> None:
    with System("redis", tmp_path, lease="60s", stale_after="60s").in_use() as system:
        # Given a handler that holds its first attempt open
        worker = system.start_worker()
        event = shop.Held(release=str(tmp_path / "release"))
        publish(event)
        eventually(lambda: system.starts(event.event_id), "it runs")
        # When that is terminated
        (answer,) = ask(system, "revoke", task_id=[identity(event)], terminate=True, signal=signal)
        assert "the attempt has failed" in answer["ok"]
        # Then the next attempt succeeds, soon
        assert system.settled(1, event.event_id, timeout=30) == {"succeeded": 1}
        (row,) = system.deliveries(event.event_id)
        assert row.attempts - row.attempts_before == 2
        # And the history has the failure, and who it was
        found = system.pipeline.history.event(event.event_id)
        assert found is not None
        assert [(one.error_type, one.error) for one in found.attempts] == [
            ("events.errors.Terminated", "terminated by remote control")
        ]
        assert deeds(system, event) == [("terminate", "remote control")]
        assert worker.alive()


def test_flowers_buttons_say_what_became_of_it(tmp_path: Path) -> None:
    with System("redis", tmp_path, lease="60s", stale_after="60s").in_use() as system:
        system.start_worker()
        flower = Flower(system, "--basic-auth=alice:secret").answers()
        event = shop.Held(release=str(tmp_path / "release"))
        publish(event)
        eventually(lambda: system.starts(event.event_id), "it runs")
        # When Alice revokes it, she is told why not
        answer = flower.post(f"/api/task/revoke/{identity(event)}", {"terminate": "false"})
        assert answer.status == 409
        assert "can't be revoked" in answer.text
        # And when she terminates it, that it has failed
        answer = flower.post(f"/api/task/revoke/{identity(event)}", {"terminate": "true"})
        assert answer.status == 200
        assert "the attempt has failed" in json.loads(answer.text)["message"]
        # And what she did is in the history, by her name
        assert system.settled(1, event.event_id) == {"succeeded": 1}
        assert deeds(system, event) == [("revoke", "alice@flower"), ("terminate", "alice@flower")]
