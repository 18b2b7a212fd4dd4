"""The relay: one bad row holds up nobody, and a broker that hangs holds up neither publishers nor the database."""

import statistics
import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, text

import shop
from events import publish
from events.ledger.records import Subscription
from events.store.database.engine import now_plus
from events.store.tables import event_deliveries, event_store
from rigs.chaos.proxy import Proxy
from support.servers import server_url
from support.size import FULL
from support.system import System
from support.waiting import eventually

MANY, RUNS = 10_000, 3


def insert_what_cannot_be_sent(system: System) -> UUID:
    """A delivery of a handler whose queue has a name that AMQP can't hold."""
    bad, queue = uuid4(), "ü" * 200
    system.pipeline.ledger.subscriptions.subscribe(
        [Subscription(event_type="Odd", handler="odd", queue=queue, max_attempts=3)]
    )
    with system.pipeline.ledger.events.begin() as connection:
        connection.execute(insert(event_store).values(id=bad, event_type="Odd", event_data="{}", processed=True))
        now = now_plus(connection)
        connection.execute(
            insert(event_deliveries).values(
                event_id=bad, handler="odd", queue=queue, state="pending", due_at=now, created_at=now
            )
        )
    return bad


def test_one_row_that_can_never_be_sent_is_parked_and_the_others_leave(tmp_path: Path) -> None:
    with System("rabbitmq", tmp_path, max_in_flight="5000").in_use() as system:
        # Given a delivery that can't be sent, among 500 others
        bad, queue = insert_what_cannot_be_sent(system), system.environment["EVENTS_QUEUE"]
        system.pipeline.ledger.subscriptions.subscribe(
            [Subscription(event_type="AsyncWork", handler="works_async", queue=queue, max_attempts=3)]
        )
        events = [shop.AsyncWork() for _ in range(500)]
        publish(events)
        # When a relay sends, while no worker says that it lacks the handler
        system.start(["events", "relay"])
        # Then the bad one is a dead letter with the reason, each of the others was sent once, and the worker that comes
        # does them all
        assert system.settled(1, bad) == {"dead": 1}
        eventually(lambda: system.states()["sent"] == 500, "all are sent")
        assert system.pipeline.transport.waiting(queue) == 500
        system.start_worker()
        (letter,) = system.pipeline.dead_letters.show(bad)
        assert letter.error_type == "events.errors.Unsendable"
        assert system.settled(501, timeout=100) == {"succeeded": 500, "dead": 1}


def test_where_nobody_works_all_that_there_is_room_for_is_put_on_the_broker(tmp_path: Path) -> None:
    with System("redis", tmp_path).in_use() as system:
        # Given many deliveries of a handler that nobody has tried, and no worker
        queue = system.environment["EVENTS_QUEUE"]
        system.pipeline.ledger.subscriptions.subscribe(
            [Subscription(event_type="Tick", handler="counts", queue=queue, max_attempts=3, most=50)]
        )
        publish([shop.Tick() for _ in range(300)])
        # When a relay runs, then it doesn't wait for ever to know how long one takes
        system.start(["events", "relay"])
        eventually(lambda: system.states() == {"sent": 300}, "all are sent")


@pytest.mark.skipif(not FULL, reason="a rate is none on a machine that does other things, too: EVENTS_TEST_FULL=1")
def test_the_others_leave_at_almost_their_usual_rate(tmp_path: Path) -> None:
    # Given many deliveries, and as many among which one can't be sent
    def rate(number: int, *, with_bad: bool) -> float:
        (folder := tmp_path / f"{number} {with_bad}").mkdir()
        with System("rabbitmq", folder, max_in_flight=str(2 * MANY)).in_use() as system:
            queue = system.environment["EVENTS_QUEUE"]
            system.pipeline.ledger.subscriptions.subscribe(
                [Subscription(event_type="AsyncWork", handler="works_async", queue=queue, max_attempts=3)]
            )
            bad = insert_what_cannot_be_sent(system) if with_bad else None
            publish([shop.AsyncWork() for _ in range(MANY)])
            # When a relay sends them
            system.start(["events", "relay"])
            eventually(lambda: system.states()["sent"], "it has begun")
            begun, before = time.monotonic(), system.states()["sent"]
            eventually(lambda: system.states()["sent"] == MANY, "all are sent")
            took = time.monotonic() - begun
            assert bad is None or system.settled(1, bad) == {"dead": 1}
            return (MANY - before) / took

    rates = {bad: statistics.median(rate(number, with_bad=bad) for number in range(RUNS)) for bad in (False, True)}
    # Then the bad one hardly holds them up
    assert rates[True] >= 0.9 * rates[False], rates


@pytest.mark.parametrize("mode", ["redis", "rabbitmq"])
def test_a_broker_that_hangs_blocks_neither_publishers_nor_the_database(mode: str, tmp_path: Path) -> None:
    # Given a broker behind a proxy that accepts connections and passes nothing on
    url = server_url({"redis": "REDIS", "rabbitmq": "AMQP"}[mode])
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    proxy = Proxy(port)
    hung = url.replace(f":{port}", f":{proxy.port}")
    try:
        with System(mode, tmp_path, broker_url=hung, broker_timeout="1s").in_use() as system:
            system.pipeline.ledger.subscriptions.subscribe(
                [
                    Subscription(
                        event_type="AsyncWork",
                        handler="works_async",
                        queue=system.environment["EVENTS_QUEUE"],
                        max_attempts=3,
                    )
                ]
            )
            proxy.hang()
            relay = system.start(["events", "relay"])
            # When events are published, and the relay has tried
            events = [shop.AsyncWork() for _ in range(50)]
            publish(events)
            eventually(lambda: "can't send" in relay.log.read_text(), "the relay has noticed")
            publish(shop.AsyncWork())
            # Then no transaction stands open while it waits for the broker
            with system.pipeline.ledger.engine.connect() as connection:
                open_ones = connection.scalar(text(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND state = 'idle in transaction' AND now() - xact_start > interval '1 second'"
                ))  # fmt: skip
            assert open_ones == 0
            # And when the broker answers again, everything is done
            proxy.heal()
            system.start_worker()
            assert system.settled(51) == {"succeeded": 51}
    finally:
        proxy.close()
