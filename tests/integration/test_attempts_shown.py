"""Attempts have the numbers that a worker's log gives them, wherever people read them."""

import json
from datetime import timedelta
from pathlib import Path

import failing
import pytest

from events import publish
from events.ledger.history import timeline
from events.ledger.letters import DeadLetterFilter
from support.operator import Operator
from support.store import NOW, OOPS, Store
from support.system import System


@pytest.fixture
def operator(store: Store) -> Operator:
    return Operator(store.url)


def tried(store: Store, *, alone: bool | None = None) -> None:
    """One attempt: that fails; or that doesn't count, as it failed in company (`alone`) or a worker handed it back."""
    claim = store.claim(store.take()[0])
    if alone is not None:
        assert store.ledger.inbox.hand_back([claim], NOW, alone=alone)
    elif claim.attempt < 2:
        assert store.ledger.inbox.retry(claim, OOPS, timedelta(0))
    else:
        assert store.ledger.inbox.bury(claim, OOPS)


def test_what_does_not_count_is_not_shown_as_an_attempt(store: Store, operator: Operator) -> None:
    # Given a delivery that ran in company first, and then failed twice of two times
    store.subscribe(max_attempts=2)
    event_id = store.publish()
    for alone in (True, None, None):
        tried(store, alone=alone)
    # Then the commands show two attempts, with these numbers
    (row,) = [line for line in operator.sees("dead", "list").splitlines() if str(event_id) in line]
    assert row.split()[3:4] == ["2"]
    assert "2 (replayed 0 times)" in operator.sees("dead", "show", event_id)
    shown = operator.sees("show", event_id, "--tracebacks")
    assert [line.split() for line in shown.splitlines() if line.startswith("hear\t")] == [
        ["hear", "q", "dead", "2", "0"]
    ]
    assert "attempt 3" not in shown
    assert shown.count("hear, attempt 1") == shown.count("hear, attempt 2") == 1
    assert "attempt 2: ValueError" in operator.sees("tail", "--once", "--since", "1h")
    # And programs read the numbers as they are stored
    (letter,) = json.loads(operator.sees("dead", "list", "--json"))
    assert (letter["attempts"], letter["attempts_before"]) == (3, 1)
    (delivery,) = json.loads(operator.sees("show", event_id, "--json"))["deliveries"]
    assert (delivery["attempts"], delivery["attempts_before"]) == (3, 1)
    # When it is replayed, it begins anew, and so do the numbers
    store.ledger.dead.replay(DeadLetterFilter(), "ann")
    tried(store, alone=False)
    tried(store)
    event = store.ledger.history.event(event_id)
    assert event is not None
    assert [one.counted for one in event.deliveries] == [1]
    said = [one.detail for one in timeline(event) if one.what.startswith("failed")]
    assert said == [f"attempt {number}: ValueError: no" for number in (1, 2, 1)]


def test_log_and_commands_agree_of_what_failed_in_company(tmp_path: Path) -> None:
    with System("sqlite", tmp_path, handlers="failing").in_use() as system:
        # Given deliveries that share messages, and whose handler fails until they are dead
        publish([failing.Fed() for _ in range(20)])
        worker = system.start_worker("threads")
        assert system.settled(20) == {"dead": 20}
        # Then the log and the commands count alike
        operator = Operator(system.environment["EVENTS_DATABASE_URL"])
        assert worker.log.read_text().count("is a dead letter, attempt 2 of 2") == 20
        listed = [line.split() for line in operator.sees("dead", "list").splitlines() if "\tfeeds\t" in line]
        assert [row[3] for row in listed] == ["2"] * 20
