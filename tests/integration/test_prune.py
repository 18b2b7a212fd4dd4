"""`events prune`, as an operator runs it."""

import json
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import text

from support.operator import Operator
from support.store import Store


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'events.db'}"


def events(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return Operator(url, EVENTS_HANDLERS="shop").runs(*arguments)


def test_it_counts_and_then_deletes(url: str) -> None:
    # Given an event of last year that somebody has handled
    assert events(url, "migrate").returncode == 0
    store = Store(url)
    claim = store.running()
    with store.ledger.inbox.begin() as connection:
        store.ledger.inbox.succeed(connection, [claim])
        connection.execute(text("UPDATE event_store SET created_at = '2025-01-01 00:00:00'"))
    with store.ledger.engine.begin() as connection:
        connection.execute(text("UPDATE event_deliveries SET finished_at = '2025-01-01 00:00:00'"))
    # When an operator asks what would go, then it is told and stays; when told to, it goes
    dry = events(url, "prune", "--older-than", "30d", "--dry-run")
    assert dry.stdout.strip() == "would delete 1 event with 1 delivery, 0 parked messages"
    assert store.count() == 1
    done = events(url, "prune", "--older-than", "30d", "--json")
    assert json.loads(done.stdout) == {"dry_run": False, "events": 1, "deliveries": 1, "parked": 0}
    assert store.count() == 0
    store.ledger.close()


@pytest.mark.parametrize("age", ["yesterday", "-1d", "0"])
def test_an_age_that_is_none_is_refused_with_the_cure(url: str, age: str) -> None:
    refused = events(url, "prune", f"--older-than={age}")
    assert refused.returncode == 2
    assert "30s" in refused.stderr


@pytest.mark.parametrize("share", ["0", "-1", "1.5", "half"])
def test_a_share_of_the_time_that_is_none_is_refused(url: str, share: str) -> None:
    refused = events(url, "prune", "--older-than", "30d", f"--share={share}")
    assert refused.returncode == 2
    assert "--share" in refused.stderr
