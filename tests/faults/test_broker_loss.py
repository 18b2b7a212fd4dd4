"""A broker that forgets everything: the ledger knows, and sends it again; and what only waits is not sent again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from _chaos.machines import Machine, wipe

import shop
from events import publish
from events.ports import Subscription
from support.system import System
from support.waiting import eventually

IN_FLIGHT = 500


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("broker")
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(0o755)  # the servers run as another user
    machine = Machine(request.param, folder)
    machine.start()
    yield machine
    machine.end()


def test_what_a_broker_forgets_is_sent_again_and_done_once(broker: Machine, tmp_path: Path) -> None:
    settings = {"broker_url": broker.url, "max_in_flight": str(IN_FLIGHT + 500), "stale_after": "3s"}
    with System(broker.name, tmp_path, **settings).in_use() as system:
        # Given wake-ups on the broker, and no worker yet
        queue = system.environment["EVENTS_QUEUE"]
        events = [shop.AsyncWork() for _ in range(IN_FLIGHT)]
        publish(events)
        system.pipeline.ledger.outbox.subscribe([Subscription("AsyncWork", "works_async", queue, 8)])
        relay = system.start(["events", "relay"])
        eventually(lambda: system.states()["sent"] == IN_FLIGHT, "all are on the broker")
        # When the broker loses them all and is restarted, and then a worker comes
        wipe(broker, queue)
        broker.restart()
        system.start_worker()
        # Then all is done, once, and nobody had to do anything
        assert system.settled(IN_FLIGHT, timeout=100) == {"succeeded": IN_FLIGHT}
        assert set(system.effects().values()) == {1}
        assert relay.alive()


def test_a_long_queue_and_a_full_hand_are_not_taken_for_lost(broker: Machine, tmp_path: Path) -> None:
    settings = {"broker_url": broker.url, "stale_after": "1s", "lease": "30s"}
    with System(broker.name, tmp_path, **settings).in_use() as system:
        # Given slow handlers, and wake-ups behind them in the queue and in the worker's hand
        events = [shop.Patient(release=str(tmp_path / "release")) for _ in range(30)]
        publish(events)
        worker = system.start_worker()
        eventually(lambda: system.states()["running"] == 2, "two run, and 28 wait")
        # When many stale windows have passed
        (first, *_) = [row for row in system.deliveries() if row.state == "running"]

        def much_later() -> bool:
            rows = {(row.event_id, row.handler): row for row in system.deliveries()}
            return (rows[first.event_id, first.handler].due_at - first.due_at).total_seconds() > 9

        eventually(much_later, "its lease was extended", 60)
        # Then nothing was sent a second time
        assert "got lost" not in worker.log.read_text()
        (tmp_path / "release").touch()
        assert system.settled(30) == {"succeeded": 30}
        assert {len(system.starts(event.event_id)) for event in events} == {1}
