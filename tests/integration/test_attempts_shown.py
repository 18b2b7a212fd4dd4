"""Attempts have the numbers that a worker's log gives them, wherever people read them."""

import html
import json
import logging
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import failing
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import text

from events import publish
from events.errors import LeaseLost
from events.hooks import Hooks
from events.ledger.dead_letters import DeadLetterFilter
from events.ledger.history import timeline
from events.ledger.outcome import Outcome, Result
from events.ledger.records import Claim
from events.monitoring.logs import DeliveryLogs, JsonFormatter
from events.tracing.spans import Spans
from events.transport.message import dead_letter_message, task_id, wakeup_message
from support.flower import Flower
from support.operator import Operator
from support.store import NOW, OOPS, PAST, Store, make_due
from support.system import System
from support.waiting import eventually

Fields = dict[str, Any]
TOKEN = 7_340_000  # the last one of a delivery with no end of attempts: stands nowhere by chance


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
    (delivery,) = json.loads(operator.sees("show", event_id, "--json"))["deliveries"]
    assert delivery["attempt"] == 0
    assert "attempt" not in operator.sees("tail", "--once", "--since", "1h", "--json").replace("attempts", "")
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


def after_no_end_of_attempts(store: Store) -> None:
    """Let the delivery's last token be TOKEN."""
    store.foreign(f"UPDATE event_deliveries SET attempts = {TOKEN}")


def has_token(text: str) -> bool:
    """Whether it has TOKEN or one of those that come next, with separators or without."""
    return re.search(r"\b7,?340,?00\d\b", text) is not None


def test_after_replays_every_text_of_the_ledger_has_the_number_that_the_handler_is_told(
    store: Store, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a dead letter that has been replayed
    store.subscribe(max_attempts=3)
    event_id = store.publish()
    assert store.ledger.inbox.bury(store.claim(store.take()[0]), OOPS)
    after_no_end_of_attempts(store)
    inbox, recovery = store.ledger.inbox, store.ledger.recovery
    store.ledger.dead.replay(DeadLetterFilter(), "ann")
    # When a worker is silent in its first attempt, and says after it that it has succeeded
    (wakeup,) = store.take()
    late = store.claim(wakeup, lease=PAST)
    recovery.expire_leases(10)
    said_lost = store.row(event_id).error
    with pytest.raises(LeaseLost) as lost, inbox.begin() as connection:
        inbox.succeed(connection, [late])
    # Then both errors have that number, and so has what Celery and Flower are told of the wake-up
    assert "during attempt 1" in said_lost
    assert "attempt 1 by w1" in str(lost.value)
    assert "'attempt': 1" in wakeup_message((wakeup,)).headers["kwargsrepr"]
    # When the second runs in company, which isn't counted, and then fails alone; and the third is cut short, and fails
    tried(store, alone=True)
    second = store.claim(store.take()[0])
    logged, span = seen_by_watchers(store, second, monkeypatch)
    assert inbox.retry(second, OOPS, NOW)
    assert inbox.interrupt(store.claim(store.take()[0]), ConnectionError("away"), 8)
    make_due(store)
    tailed = operator.sees("tail", "--once", "--since", "1h")
    third = store.claim(store.take()[0])
    assert inbox.bury(third, OOPS)
    # Then handler, log and span have the second's number, and no watcher is told another one
    assert second.attempt == logged["attempt"] == span["events.attempt"] == 2
    assert "to be retried" in tailed
    assert "attempt 3: events.errors.DatabaseAway" in tailed
    # And the history has all of them, by these numbers, for people and for programs
    shown, died = operator.sees("show", event_id, "--tracebacks"), operator.sees("tail", "--once", "--since", "1h")
    event = json.loads(operator.sees("show", event_id, "--json"))
    assert [one["attempt"] for one in event["attempts"]] == [1, 1, 2, 3, 3]
    assert [one["run"] for one in event["attempts"]] == [1, 1, 2, 3, 3]
    assert [one["attempt"] for one in event["deliveries"]] == [3]
    assert [shown.count(f"hear, attempt {number}") for number in (1, 2, 3, 4)] == [2, 1, 2, 0]
    assert "attempt 3: ValueError" in died
    (letter,) = store.ledger.recovery.take_uncopied(10)
    assert json.loads(dead_letter_message(letter).body)["attempts"] == 3
    # And nobody is shown a token
    texts = [said_lost, str(lost.value), tailed, shown, died, json.dumps(logged), json.dumps(span),
             json.dumps([event["timeline"], event["attempts"]]), operator.sees("dead", "list"),
             operator.sees("dead", "show", event_id), *whole_rows(store, "event_deliveries", "error", "traceback"),
             *whole_rows(store, "event_attempts", "error", "traceback")]  # fmt: skip
    assert [text for text in texts if has_token(text)] == []


def seen_by_watchers(
    store: Store, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A line that is logged in the handler's run, as fields; and the attributes of the attempt's span."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    hooks = Hooks()
    for watcher in (DeliveryLogs(), Spans(store.ledger.traces, lambda _: "q")):
        hooks.add(watcher)
    around = hooks.around([claim])
    assert around is not None
    with around:
        logged = json.loads(JsonFormatter().format(logging.makeLogRecord({"msg": "said"})))
    hooks.attempted(claim, Result(Outcome.RETRY, ValueError("no")), 0.1)
    (span,) = exporter.get_finished_spans()
    return logged, dict(span.attributes or {})


def whole_rows(store: Store, table: str, *columns: str) -> list[str]:
    with store.ledger.engine.connect() as connection:
        return [str(tuple(row)) for row in connection.execute(text(f"SELECT {', '.join(columns)} FROM {table}"))]


def test_after_a_replay_worker_and_flower_say_what_the_commands_say(tmp_path: Path) -> None:
    with System("redis", tmp_path, handlers="failing", log_format="json").in_use() as system:
        # Given a worker, a Flower, and an event that its handler fails on until it is dead
        flower, worker = Flower(system).answers(), system.start_worker("threads")
        flower.hears()
        publish(event := failing.AskedLater())
        assert system.settled(1) == {"dead": 1}
        url = system.environment["EVENTS_DATABASE_URL"]
        store, operator = Store(url), Operator(url)
        eventually(lambda: store.row(event.event_id).copied, "the broker has a copy")
        # When it is replayed, after no end of attempts, and dies again
        after_no_end_of_attempts(store)
        operator.sees("dead", "replay", event.event_id)
        eventually(lambda: store.row(event.event_id).replays == 1 and system.states()["dead"], "it died again")
        store.ledger.close()
        # Then the worker's log has both rounds of attempts, in its lines and in their fields
        dead = "is a dead letter, attempt 2 of 2"
        log = eventually(lambda: (seen := worker.log.read_text()).count(dead) == 2 and seen, "the log says so")
        lines = [line for line in map(json.loads, log.splitlines()) if line.get("outcome")]
        assert [line["attempt"] for line in lines] == [1, 2, 1, 2]
        # And Flower shows the same, on our page and on its own about the task
        page = flower.sees(f"/events/{event.event_id}")
        assert [page.count(f"attempt {number}:") for number in (1, 2, 3)] == [2, 2, 0]
        task = f"/task/{task_id(event.event_id, 'asks_later')}"
        eventually(lambda: "'attempt': 2" in html.unescape(flower.sees(task)), "Flower has the task")
        # And so do the commands, and the copies on the broker
        shown = operator.sees("show", event.event_id)
        assert [shown.count(f"attempt {number}:") for number in (1, 2, 3)] == [2, 2, 0]
        copies: list[dict[str, Any]] = []
        eventually(lambda: copies.extend(system.broker_dead_letters()) or len(copies) == 2, "two copies")
        assert [copy["attempts"] for copy in copies] == [2, 2]
        # And nobody is shown a token
        assert [text for text in (log, page, shown, operator.sees("dead", "list")) if has_token(text)] == []
