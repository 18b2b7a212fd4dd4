"""The demo, run as a user runs it, against a real worker on SQLite."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, str(ROOT / "rigs" / "demo")]


def rows(count: int) -> list[dict[str, str]]:
    lines = (ROOT / "rigs" / "demo" / "data" / "cards.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines[:count]]


def handled(database: Path) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM event_deliveries WHERE state = 'succeeded'").fetchone()[0])


def run_demo(folder: Path, *arguments: str) -> dict[str, Any]:
    command = [*DEMO, "--database-url", f"sqlite:///{folder / 'demo.db'}", "--json", *arguments]
    # What the developer has set is none of the demo's business: with this broker or module nothing would work.
    leaks = {"REDIS_URL": "redis://nowhere.invalid:1/0", "EVENTS_HANDLERS": "no_such_module"}
    ended = subprocess.run(command, env=os.environ | leaks, capture_output=True, text=True, timeout=110, check=False)
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    assert "\x1b" not in ended.stdout + ended.stderr, "control characters without a terminal"
    return json.loads(ended.stdout)  # type: ignore[no-any-return]


def assert_true_to_the_rows(figures: dict[str, Any], count: int) -> None:
    plain = sum(row["url"].startswith("http:") for row in rows(count))
    assert figures["events"] == count
    assert figures["deliveries"] == {
        "add_to_feed": {"succeeded": count},
        "notify_followers": {"dead": plain, "succeeded": count - plain},
    }
    assert figures["feed_items"] == count
    assert figures["ok"]
    assert all(check["holds"] for check in figures["checks"])


def processes_of(name: str) -> list[int]:
    """The living processes with this text in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:  # it ended while we looked
            continue
        if name.encode() in command and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def members_of(group: int) -> list[int]:
    """The living processes of a process group; one that only waits for its parent to notice its end is none."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, its_group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it ended while we looked
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(folder.name))
    return found


def test_every_card_is_handled_or_explained_and_again_in_the_same_database(tmp_path: Path) -> None:
    for _ in range(2):
        figures = run_demo(tmp_path, "--cards", "60")

        assert_true_to_the_rows(figures, 60)
        assert [(group["handler"], group["error_type"]) for group in figures["dead"]] == [
            ("notify_followers", "handlers.notifications.InsecureLink")
        ]
        assert processes_of(figures["run"]) == []


def test_killing_the_worker_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    figures = run_demo(tmp_path, "--cards", "300", "--kill-worker")

    assert_true_to_the_rows(figures, 300)
    assert figures["crash"]["interrupted"]
    assert figures["started_again"] >= len(figures["crash"]["interrupted"])
    assert processes_of(figures["run"]) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_it_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    database = f"sqlite:///{tmp_path / 'demo.db'}"
    command, pipe = [*DEMO, "--database-url", database], subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        for line in demo.stdout:
            if "process group" in line:
                group = int(line.rsplit(maxsplit=1)[1])
                break
        else:
            pytest.fail(f"no worker was started: {demo.stderr.read()}")
        eventually(lambda: handled(tmp_path / "demo.db") > 5, "it is somewhere in its work")
        demo.send_signal(number)

        assert demo.wait(timeout=30) == 128 + number
        assert "no process was left behind" in demo.stderr.read()
    assert members_of(group) == []


def test_a_database_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    command = [*DEMO, "--cards", "1", "--database-url", f"sqlite:///{tmp_path / 'missing' / 'demo.db'}"]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 1
    assert "events migrate" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
