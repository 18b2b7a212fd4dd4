"""Our messages are Celery's: a worker that knows nothing of us runs them, and Flower shows them."""

import base64
import json
import urllib.request
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import shop
from events import publish
from events.ledger.records import Wakeup
from events.transport import open_transport
from support.private_servers import free_port
from support.system import System
from support.waiting import eventually


@pytest.mark.parametrize("mode", ["redis", "rabbitmq"])
def test_a_stock_worker_runs_wakeups_as_any_other_task(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path).in_use() as system:
        # Given one delivery in a message, and three in another
        queue = system.environment["EVENTS_QUEUE"]
        one, *three = [Wakeup(uuid4(), "counts", queue, 1) for _ in range(4)]
        transport = open_transport(system.pipeline.settings)
        transport.send([(one,), tuple(three)])
        transport.close()
        # When a worker of plain Celery consumes the queue
        system.start(["celery", "-A", "stock", "worker", "-c", "1", "-l", "INFO", "-n", "stock@test"])
        notes = tmp_path / "starts"
        eventually(lambda: notes.exists() and len(notes.read_text().splitlines()) == 2, "both tasks have run")
        # Then it has run two tasks of the handler's name, with the deliveries as their arguments
        alone, group = [json.loads(line) for line in notes.read_text().splitlines()]
        assert alone["keywords"] == {"event_id": str(one.event_id), "attempt": 1}
        assert alone["root"] == str(one.event_id)
        assert group["keywords"] == {"deliveries": [[str(wakeup.event_id), 1] for wakeup in three]}


def flower(system: System, port: int, path: str) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    request.add_header("Authorization", "Basic " + base64.b64encode(b"me:secret").decode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@pytest.mark.parametrize("mode", ["redis", "rabbitmq"])
def test_flower_shows_them_as_any_other_task(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path).in_use() as system:
        # Given Flower
        port = free_port()
        system.start(
            ["celery", "-A", "events", "flower", f"--port={port}", "--address=127.0.0.1", "--basic_auth=me:secret"]
        )

        def answers() -> bool:
            try:
                return flower(system, port, "/api/tasks") is not None
            except OSError:
                return False

        eventually(answers, "Flower answers")
        # When a worker handles it, each event alone at first, and then in groups, as soon as it is fast
        system.start_worker()
        ids: set[str] = set()
        ours = system.environment["EVENTS_QUEUE"]  # in the worker's name; others on this broker are seen, too

        def shown() -> list[dict[str, Any]] | None:
            events = [shop.Tick() for _ in range(300)]
            publish(events)
            ids.update(str(event.event_id) for event in events)
            system.settled(300, *(event.event_id for event in events))
            tasks = flower(system, port, "/api/tasks?limit=1000").values()
            done = [task for task in tasks if ours in str(task["worker"]) and task["state"] == "SUCCESS"]
            return done if any("deliveries" in task["kwargs"] for task in done) else None

        tasks = eventually(shown, "Flower has seen groups succeed")
        # Then Flower names the handler, and shows the event of one and the number of many
        assert {task["name"] for task in tasks} == {"counts"}
        single = [task for task in tasks if "deliveries" not in task["kwargs"]]
        assert single
        assert all(task["root_id"] in ids and task["root_id"] in task["kwargs"] for task in single)
        assert all(task["kwargs"].startswith("{'deliveries': ") for task in tasks if task not in single)
