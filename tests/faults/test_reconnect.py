"""Brokers that are restarted under load, and processes that hang."""

import os
import signal
import time
from pathlib import Path

import pytest

import shop
from events import publish
from events.watchdog import HUNG
from rigs.chaos.machines import Machine
from rigs.chaos.proxy import Proxy
from support.size import sized
from support.system import System
from support.waiting import eventually


def will_remember(broker: Machine, queue: str) -> bool:
    """Whether the queue outlives a kill of its broker: RabbitMQ notes a new one half a second late."""
    names = [path.read_bytes() for path in broker.folder.glob("*/quorum/*/names.dets")]
    return broker.name == "redis" or any(queue.encode() in text for text in names)


@pytest.mark.timeout(sized(300, 900))
def test_consuming_goes_on_after_each_restart_of_the_broker(broker: Machine, tmp_path: Path) -> None:
    with System(broker.name, tmp_path, broker_url=broker.url).in_use() as system:
        worker = system.start_worker()
        eventually(lambda: will_remember(broker, system.environment["EVENTS_QUEUE"]), "RabbitMQ has noted its queue")
        for _ in range(sized(2, 20)):
            # Given a broker that is restarted while there is work
            before = [shop.AsyncWork() for _ in range(20)]
            publish(before)
            broker.restart()
            answered = time.monotonic()
            # When something new is published
            event = shop.AsyncWork()
            publish(event)
            # Then it is done soon, by the same worker
            assert system.settled(1, event.event_id) == {"succeeded": 1}
            took = time.monotonic() - answered
            assert took < sized(30, 10), "10 s are promised; three times that is for a busy machine"
            assert worker.alive()
        assert set(system.effects().values()) == {1}


def test_a_worker_whose_event_loop_hangs_ends_itself(tmp_path: Path) -> None:
    with System("redis", tmp_path, watchdog="2s", broker_timeout="1s", handlers="hangs").in_use() as system:
        # Given a worker whose event loop is blocked by the application
        (tmp_path / "hangs.py").write_text(
            "import threading\n"
            "from celery.signals import worker_ready\n"
            "@worker_ready.connect(weak=False)\n"
            "def block(sender, **_):\n"
            "    sender.hub.call_later(1, lambda: threading.Event().wait())\n"
        )
        system.environment["PYTHONPATH"] += f":{tmp_path}"
        worker = system.start_worker()
        # Then its watchdog ends it, and says what hung
        assert worker.exit_code() == HUNG
        assert "Celery's event loop has been silent" in worker.log.read_text()


def test_a_relay_whose_database_hangs_ends_itself(tmp_path: Path) -> None:
    with System("redis", tmp_path, watchdog="2s", broker_timeout="1s").in_use() as system:
        # Given a relay at work
        url = system.environment["EVENTS_DATABASE_URL"]
        port = int(url.rsplit(":", 1)[1].split("/")[0])
        proxy = Proxy(port)
        try:
            relay = system.start(["events", "relay"], database_url=url.replace(f":{port}", f":{proxy.port}"))
            relay.wait_for("Ctrl-C stops it")
            eventually(lambda: "events relay" in relay.log.read_text(), "it has started")
            # When its database accepts everything and answers nothing
            proxy.hang()
            # Then its watchdog ends it
            assert relay.exit_code() == HUNG
            assert "the relay has been silent" in relay.log.read_text()
        finally:
            proxy.close()


def test_a_worker_that_was_stopped_for_long_is_not_taken_for_hung(tmp_path: Path) -> None:

    with System("redis", tmp_path, watchdog="2s", broker_timeout="1s").in_use() as system:
        # Given a worker that stands still for longer than the watchdog waits
        worker = system.start_worker()
        os.killpg(worker.pid, signal.SIGSTOP)
        stopped = time.monotonic()
        eventually(lambda: time.monotonic() - stopped > 5, "it has stood still")
        # When it goes on
        os.killpg(worker.pid, signal.SIGCONT)
        # Then it works, and lives
        event = shop.AsyncWork()
        publish(event)
        assert system.settled(1, event.event_id) == {"succeeded": 1}
        went_on = time.monotonic()
        eventually(lambda: time.monotonic() - went_on > 4, "the watchdog has looked again")
        assert worker.alive()
