"""A broker that forgets everything: the ledger knows, and sends it again; and what only waits is not sent again."""

from pathlib import Path

import pytest

import shop
from events import publish
from events.ledger.records import Subscription
from rigs.chaos.machines import Machine, wipe
from support.size import sized
from support.system import System
from support.waiting import eventually

IN_FLIGHT = sized(500, 5_000)
STALE = sized(3, 60)  # seconds
WAITING = sized(30, 100_000)  # deliveries behind slow handlers


@pytest.mark.timeout(sized(300, 400))
def test_what_a_broker_forgets_is_sent_again_and_done_once(broker: Machine, tmp_path: Path) -> None:
    settings = {"broker_url": broker.url, "max_in_flight": str(2 * IN_FLIGHT), "stale_after": f"{STALE}s"}
    with System(broker.name, tmp_path, **settings).in_use() as system:
        # Given wake-ups on the broker, and no worker yet
        queue = system.environment["EVENTS_QUEUE"]
        events = [shop.AsyncWork() for _ in range(IN_FLIGHT)]
        publish(events)
        system.pipeline.ledger.subscriptions.subscribe(
            [Subscription(event_type="AsyncWork", handler="works_async", queue=queue, max_attempts=8)]
        )
        relay = system.start(["events", "relay"])
        eventually(lambda: system.states()["sent"] == IN_FLIGHT, "all are on the broker")
        # When the broker loses them all and is restarted, and then a worker comes
        wipe(broker, queue)
        broker.restart()
        system.start_worker()
        # Then all is done, once, within two stale windows (of those that count), and nobody had to do anything
        assert system.settled(IN_FLIGHT, timeout=max(100, 2 * STALE)) == {"succeeded": IN_FLIGHT}
        assert set(system.effects().values()) == {1}
        assert relay.alive()


@pytest.mark.timeout(sized(300, 600))
def test_a_long_queue_and_a_full_hand_are_not_taken_for_lost(broker: Machine, tmp_path: Path) -> None:
    settings = {"broker_url": broker.url, "stale_after": "1s", "lease": "30s", "max_in_flight": str(2 * WAITING)}
    with System(broker.name, tmp_path, **settings).in_use() as system:
        # Given slow handlers, and wake-ups behind them in the queue and in the worker's hand
        events = [shop.Patient(release=str(tmp_path / "release")) for _ in range(WAITING)]
        publish(events)
        worker = system.start_worker()
        expected = {"running": 2, "sent": WAITING - 2}
        eventually(lambda: system.states() == expected, "two run, and all others wait on the broker", sized(60, 400))
        # When many stale windows have passed
        (first, *_) = [row for row in system.deliveries() if row.state == "running"]

        def much_later() -> bool:
            rows = {(row.event_id, row.handler): row for row in system.deliveries()}
            return (rows[first.event_id, first.handler].due_at - first.due_at).total_seconds() > 9

        eventually(much_later, "its lease was extended")
        # Then nothing was sent a second time
        assert "got lost" not in worker.log.read_text()
        assert system.states() == expected
        if WAITING > 1_000:  # to let them all run would say no more
            worker.kill()
            return
        (tmp_path / "release").touch()
        assert system.settled(WAITING) == {"succeeded": WAITING}
        assert {len(system.starts(event.event_id)) for event in events} == {1}
