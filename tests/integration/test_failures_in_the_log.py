"""What a worker's log, Celery's signals and Sentry tell of a handler that fails: where, in the user's own code."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import failing
import pytest
import with_sentry

from events import publish
from support.system import Process, System
from support.waiting import eventually

MANY = 40
AT_INFO = ("-l", "INFO")


def start(system: System, *options: str, pool: str = "threads") -> Process:
    """A worker as the README starts it: at Celery's default level, unless the options say otherwise."""
    command = ["celery", "-A", "events", "worker", "-c", "1", "-P", pool, "-n", system.environment["EVENTS_QUEUE"]]
    worker = system.start([*command, *options])
    worker.wait_for("ready.")
    return worker


def told(line: str) -> int:
    """How many failed attempts a line tells of."""
    more = re.search(r"\(and (\d+) more like it\)", line)
    return 1 + int(more[1]) if more else 1


def line_in(function: Any, words: str) -> str:
    """Where these words stand, as file:line."""
    lines, first = inspect.getsourcelines(function)
    (number,) = [first + number for number, line in enumerate(lines) if words in line]
    return f"{inspect.getsourcefile(function)}:{number}"


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_at_the_default_level_every_failed_attempt_is_told_of_and_none_floods_the_log(
    pool: str, tmp_path: Path
) -> None:
    with System("sqlite", tmp_path, handlers="failing").in_use() as system:
        # Given a handler whose library is missing
        worker = start(system, pool=pool)
        # When many events come, and each fails twice
        publish([failing.Fed() for _ in range(MANY)])
        assert system.settled(MANY) == {"dead": MANY}
        assert worker.stop() == 0
        log = worker.log.read_text()
        failed = [line for line in log.splitlines() if "-> feeds failed, attempt 1 of 2" in line]
        dead = [line for line in log.splitlines() if "-> feeds is a dead letter" in line]
        # Then a few lines tell of all that failed and were tried again, as warnings
        assert sum(map(told, failed)) == MANY
        assert len(failed) < MANY / 2
        assert all("WARNING" in line for line in failed)
        # And what is told later names no time that is past
        assert [", again in " in line for line in failed] == ["in the last 10 s: " not in line for line in failed]
        # And each dead letter is an error, with the handler's own line
        assert len(dead) == MANY
        where = line_in(failing.feeds, "import nothing_of_this_name")
        assert all("ERROR" in line and where in line and "No module named" in line for line in dead)
        # And the user's own traceback is there, a few times
        assert 2 <= log.count("Traceback (most recent call last)") <= MANY / 4
        assert log.count("ModuleNotFoundError: No module named 'nothing_of_this_name'\n") >= 2
        assert "raised unexpected" not in log


def test_a_wish_for_another_time_is_no_warning(tmp_path: Path) -> None:
    with System("sqlite", tmp_path, handlers="failing").in_use() as system:
        # Given a handler that asks to be tried later, and then has no attempt left
        worker = start(system, *AT_INFO)
        publish(failing.AskedLater())
        assert system.settled(1) == {"dead": 1}
        worker.stop()
        # Then that it asked is info, and that it is dead an error
        (asked,) = [line for line in worker.log.read_text().splitlines() if "-> asks_later asks to be tried" in line]
        assert "INFO" in asked
        assert "in 50 ms: RetryAfter: the shop is closed" in asked
        (dead,) = [line for line in worker.log.read_text().splitlines() if "-> asks_later is a dead letter" in line]
        assert "ERROR" in dead


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_celerys_signal_has_the_handlers_own_exception(pool: str, tmp_path: Path) -> None:
    with System("sqlite", tmp_path, handlers="failing").in_use() as system:
        start(system, pool=pool)
        publish(failing.Fed())
        system.settled(1)
        noted = eventually(lambda: (tmp_path / "starts").exists() and (tmp_path / "starts").read_text(), "it is told")
        text = "No module named 'nothing_of_this_name'"
        assert json.loads(noted) == {"is": "DeliveryFailed", "by": "ModuleNotFoundError", "text": text}


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_sentry_gets_one_event_of_a_dead_letter_with_the_users_own_frame(pool: str, tmp_path: Path) -> None:
    with System("sqlite", tmp_path, handlers="with_sentry").in_use() as system:
        # Given an application that reports to Sentry, in a process that loads Celery only when that is set up
        command = [sys.executable, "-m", "celery", "-A", "events", "worker", "-P", pool, "-c", "1", "-l", "INFO"]
        with subprocess.Popen(command, env=system.environment, cwd=tmp_path, stderr=subprocess.DEVNULL) as worker:
            try:
                # When a handler fails until it is dead
                publish([with_sentry.Reported(), with_sentry.Reported()])
                assert system.settled(2) == {"dead": 2}
            finally:
                worker.terminate()
        # Then Sentry has an event for each, and no more
        reports = [json.loads(line) for line in (tmp_path / "starts").read_text().splitlines()]
        assert len(reports) == 2
        for report in reports:
            # With the handler's own exception, and where it was raised
            raised = {one["type"]: one for one in report["exception"]["values"]}
            assert raised.keys() == {"LookupError", "DeliveryFailed"}
            assert raised["LookupError"]["value"] == "no such shelf"
            last = raised["LookupError"]["stacktrace"]["frames"][-1]
            assert (last["function"], Path(last["abs_path"]).name) == ("reports", "with_sentry.py")
