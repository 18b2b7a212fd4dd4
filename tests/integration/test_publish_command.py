"""`events publish`, from the shell and from files."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from events.store import migrate
from support.store import Store

APPLICATION = Path(__file__).parent.parent / "support" / "application"


class Shell:
    def __init__(self, url: str) -> None:
        self._environment = {
            "PATH": os.environ["PATH"], "EVENTS_DATABASE_URL": url, "EVENTS_HANDLERS": "shop", "COLUMNS": "200",
            "PYTHONPATH": str(APPLICATION),
        }  # fmt: skip

    def runs(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "events", "publish", *arguments]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, input=given)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path / 'events.db'}")
    migrate(store.ledger.engine)
    yield store
    store.ledger.close()


@pytest.fixture
def shell(store: Store) -> Shell:
    return Shell(store.url)


def line(**data: Any) -> str:
    return json.dumps({"event": "OrderPlaced", "data": data}) + "\n"


def test_one_event_is_published_with_its_fields(store: Store, shell: Shell) -> None:
    done = shell.runs("OrderPlaced", '{"order": "o-1", "amount": 3}', "--json")
    assert done.returncode == 0, done.stderr
    (event_id,) = json.loads(done.stdout)["published"]
    event = store.ledger.history.event(UUID(event_id))
    assert event is not None
    assert (event.event_type, event.aggregate_id, json.loads(event.data)) == (
        "OrderPlaced", "o-1", {"order": "o-1", "amount": 3},
    )  # fmt: skip


def test_a_file_is_published_as_a_whole(store: Store, shell: Shell, tmp_path: Path) -> None:
    lines = "".join(line(order=f"o-{number}") for number in range(1200))
    (tmp_path / "orders.jsonl").write_text(lines)
    assert shell.runs("--file", str(tmp_path / "orders.jsonl")).stdout.strip() == "published 1,200 events"
    assert shell.runs("--file", "-", given=lines + "\n").stdout.strip() == "published 1,200 events"
    assert store.count() == 2400


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("{", "line 2 of -: it is no JSON"),
        ("[]", 'line 2 of -: it is not {"event"'),
        ('{"event": "OrderPlced", "data": {}}', "line 2 of -: no event is named 'OrderPlced'"),
        ('{"event": "OrderPlaced", "data": {"order": "o", "amount": "x"}}', "line 2 of -: OrderPlaced: amount: "),
    ],
)
def test_of_a_file_with_a_bad_line_nothing_is_published(store: Store, shell: Shell, bad: str, said: str) -> None:
    done = shell.runs("--file", "-", given=line(order="o-1") + bad + "\n")
    assert done.returncode == 1
    assert done.stderr.startswith(f"events: {said}")
    assert done.stderr.strip().endswith("nothing is published")
    assert store.count() == 0


def test_what_makes_no_sense_is_refused(shell: Shell) -> None:
    assert shell.runs().returncode == 2
    assert shell.runs("OrderPlaced", "{}", "--file", "x").returncode == 2
    assert "can't read" in shell.runs("--file", "/nowhere").stderr
    assert "Field required" in shell.runs("OrderPlaced").stderr
