"""`events unhandled`, as an operator runs it."""

import json
import subprocess
from pathlib import Path

import pytest

from support.operator import Operator
from support.store import Store


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'events.db'}"


def events(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return Operator(url, EVENTS_HANDLERS="shop").runs(*arguments)


def test_an_operator_lists_counts_and_drops_what_waits_in_vain(url: str) -> None:
    # Given two events that nobody wants, and one that somebody does
    assert events(url, "migrate").returncode == 0
    store = Store(url)
    store.subscribe()
    store.publish(event_type="Unheard")
    store.publish(event_type="Unheard")
    store.publish()
    # When an operator lists them, then they are counted, here and in the status
    (listed,) = json.loads(events(url, "unhandled", "list", "--json").stdout)
    assert (listed["event_type"], listed["count"]) == ("Unheard", 2)
    assert "Unheard 2" in events(url, "status").stdout
    # When they are to be dropped, then it is only counted, or refused unless it is meant
    assert events(url, "unhandled", "drop", "Unheard", "--dry-run").stdout.strip() == "2 events would be deleted"
    refused = events(url, "unhandled", "drop", "--all")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    for wrong in (("Said",), (), ("Unheard", "--all")):
        assert events(url, "unhandled", "drop", *wrong, "--yes").returncode == 2
    assert json.loads(events(url, "unhandled", "drop", "Unheard", "--older-than", "1h", "--json").stdout)["events"] == 0
    assert store.count() == 3
    # When it is meant, then they are gone
    done = events(url, "unhandled", "drop", "--all", "--yes", "--json")
    assert json.loads(done.stdout) == {"dry_run": False, "events": 2, "types": ["Unheard"]}
    assert store.count() == 1
    # And prune deletes them when it is told to, and the wanted one never
    store.publish(event_type="Unheard")
    for flags, left in (([], 2), (["--unhandled"], 1)):
        assert events(url, "prune", "--older-than", "1ms", *flags).returncode == 0
        assert store.count() == left
    store.ledger.close()
