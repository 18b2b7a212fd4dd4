"""Plain Celery tasks beside handlers: they go where the application's own app sends them, or are refused at once."""

import re
from pathlib import Path
from uuid import uuid4

import kombu
import pytest
from tasks_of_its_own import OrderTaken

from events import publish
from support.servers import server_url
from support.system import BROKERS, System
from support.waiting import eventually

HANDLERS = 2
SENT = ("delay", "apply_async", "signature", "group", "chunks")


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
@pytest.mark.parametrize("mode", ["sqlite", "redis"])
def test_a_shared_task_without_an_app_of_its_own_is_refused_at_once_with_the_cure(
    mode: str, pool: str, tmp_path: Path
) -> None:
    with System(mode, tmp_path, handlers="tasks_of_its_own").in_use() as system:
        # Given a worker whose handlers send tasks that no app of the application sends
        worker = system.start_worker(pool)
        events = [OrderTaken(how=how) for how in SENT]
        publish(events)
        # When they do
        system.settled(HANDLERS * len(SENT))
        # Then each is told what to do, and no message is anywhere
        dead = [row for row in system.deliveries() if row.state == "dead"]
        assert len(dead) == len(SENT) + 1  # the async one, too
        for row in dead:
            assert row.error_type == "events.errors.ConfigurationError"
            assert re.match("task '(shop.mail|celery.starmap)' is not sent: ", row.error)
            assert "Celery('shop', broker='redis://...')" in row.error
            assert "\n" not in row.error
        assert "No hostname was supplied" not in worker.log.read_text()
        assert not sum(system.pipeline.parked.counts().values())


@pytest.mark.parametrize("mode", ["sqlite", "redis"])
def test_to_call_a_shared_task_is_to_call_a_function(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path, handlers="tasks_of_its_own").in_use() as system:
        worker = system.start_worker()
        publish(OrderTaken(how="call"))
        assert system.settled(HANDLERS) == {"succeeded": HANDLERS}
        assert (tmp_path / "starts").read_text() == "mailed ann\n"
        # And it is none of the worker's own
        assert "shop.mail" not in worker.log.read_text()


@pytest.mark.parametrize("pool", ["prefork", "threads"])
@pytest.mark.parametrize("mode", ["sqlite", *sorted(BROKERS)])
def test_tasks_go_where_the_applications_own_app_sends_them(mode: str, pool: str, tmp_path: Path) -> None:
    theirs = server_url(BROKERS.get(mode, "REDIS"))
    with System(mode, tmp_path, handlers="tasks_of_its_own").in_use() as system:
        # Given an application with an app and a queue of its own
        queue = f"shop-{uuid4().hex[:12]}"
        system.environment |= {"SHOP_BROKER_URL": theirs, "SHOP_QUEUE": queue}
        system.start_worker(pool)
        # When handlers send tasks, shared ones and the app's own
        publish([OrderTaken(how="delay"), OrderTaken(how="pack")])
        assert system.settled(2 * HANDLERS) == {"succeeded": 2 * HANDLERS}
        # Then they are in that queue, and none was parked
        with kombu.Connection(theirs) as connection, connection.channel() as channel:
            of_theirs = kombu.Queue(queue).bind(channel)
            found: list[str] = []

            def all_there() -> bool:
                while message := of_theirs.get(no_ack=True):
                    found.append(message.headers["task"])
                return len(found) >= 3

            try:
                eventually(all_there, "three tasks have been sent")
            finally:
                of_theirs.delete()
        assert sorted(found) == ["shop.mail", "shop.mail", "shop.pack"]
        assert not sum(system.pipeline.parked.counts().values())


@pytest.mark.parametrize("mode", sorted(BROKERS))
def test_a_task_in_our_queue_is_parked_with_what_to_do(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path).in_use() as system:
        # Given somebody whose Celery app has our queue for its own
        worker = system.start_worker()
        queue = system.environment["EVENTS_QUEUE"]
        body = [["ann"], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
        with kombu.Connection(server_url(BROKERS[mode])) as connection, connection.Producer() as producer:
            # When it sends a task
            headers = {"lang": "py", "task": "shop.mail", "id": str(uuid4()), "root_id": None, "parent_id": None}
            producer.publish(body, routing_key=queue, headers=headers, serializer="json", correlation_id=headers["id"])
        # Then it is parked, and whoever looks is told what to do
        parked = system.pipeline.parked
        (message,) = eventually(lambda: parked.find(reason="not a wake-up"), "it is parked")
        assert "'shop.mail'" in message.detail
        assert "task_default_queue" in message.detail
        worker.wait_for("task_default_queue")
