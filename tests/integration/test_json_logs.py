"""EVENTS_LOG_FORMAT=json: a real worker and a real relay say nothing that isn't one JSON object a line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chatty
import pytest

from events import publish
from support.system import Process, System
from support.waiting import eventually

Line = dict[str, Any]
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    system = System("sqlite", tmp_path, handlers="chatty", log_format="json")
    with system.in_use():
        yield system


def lines_of(process: Process) -> list[Line]:
    """All of them, each of which must be an object."""
    found = [json.loads(line) for line in process.log.read_text().splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in found)
    return found


def test_every_line_of_a_prefork_worker_is_json_and_names_its_delivery(system: System) -> None:
    # Given an event whose handler logs, prints and fails, and one that tells of its request
    request = {"correlation_id": "request 7", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    failing = chatty.Chatted.model_validate({"fails": True, "metadata": request})
    # When a worker has run it, and ended
    worker = system.start_worker()
    publish(failing)
    system.settled(2)
    assert worker.stop() == 0
    lines = lines_of(worker)
    # Then there is what Celery said, from the first to the last
    said = "\n".join(line["message"] for line in lines)
    assert "ready." in said
    assert "Warm shutdown" in said
    # And what the application said, of which delivery
    theirs = [line for line in lines if line["logger"] == "chatty.handlers" and "two" in line["message"]]
    about = {"event_id": str(failing.event_id), "event_type": "Chatted", "handler": "chats", "trace_id": TRACE}
    assert [line["attempt"] for line in theirs] == [1, 2]
    for line in theirs:
        assert line.items() >= (about | {"correlation_id": "request 7", "level": "INFO", "guests": 7}).items()
        assert line["message"] == "two\nlines, to postgresql://ann:***@host/shop"
        assert isinstance(line["odd"], str)
    # And where: in a coroutine, in print(), in a line whose arguments don't fit
    by_message = {line["message"]: line for line in lines}
    assert by_message["from a coroutine"]["handler"] == "chats_async"
    assert by_message["printed"].items() >= about.items()
    assert by_message["%d arguments ('no',)"].items() >= about.items()
    # And an exception is a field
    wrong = by_message["it went wrong"]
    assert wrong["exception"].startswith("Traceback")
    assert wrong["exception"].endswith("ValueError: no\nmore")
    # And the line about the end has the fields, too, and what it says as fields
    (end,) = [line for line in lines if "-> chats_async ok" in line["message"]]
    assert end["handler"] == "chats_async"
    assert end.items() >= {"event_id": str(failing.event_id), "correlation_id": "request 7", "attempt": 1}.items()
    assert end["outcome"] == "succeeded"
    assert 0 < end["seconds"] < 60
    (dead,) = [line for line in lines if line["level"] == "ERROR" and line["logger"] == "celery.app.trace"]
    assert dead.items() >= (about | {"attempt": 2, "outcome": "dead"}).items()
    assert dead["exception"].endswith("ValueError: no\nmore")
    # And the first tells what the worker stands on
    (first,) = [line for line in lines if "database" in line]
    assert first["database"].startswith("SQLite /")
    assert first["handlers"] == ["chats", "chats_async"]


def test_every_line_of_a_relay_is_json(system: System) -> None:
    # Given a relay whose broker is not there
    relay = system.start(["events", "relay"], broker_url="redis://:secret@127.0.0.1:1/0")
    # When there is something to send
    system.pipeline.subscribe()
    publish(chatty.Chatted())
    eventually(lambda: "redis: " in relay.log.read_text() or "refused" in relay.log.read_text(), "a complaint")
    relay.stop()
    # Then it says where it sends to, and what is wrong
    lines = lines_of(relay)
    assert "redis://:***@127.0.0.1:1/0" in lines[0]["message"]
    assert {line["level"] for line in lines} == {"INFO", "WARNING"}
    assert "secret" not in relay.log.read_text()
