"""What one worker of many can run comes to it soon, whoever else reads the queue."""

from pathlib import Path
from uuid import UUID

import pytest
from celery import Celery
from sqlalchemy import select

from events.store.tables import event_deliveries
from support.rolling import publish_as, start_worker
from support.size import alike
from support.system import System
from support.waiting import eventually

COUNT, OTHERS = 20, 4


def passes(system: System, ids: list[UUID], handler: str = "goes") -> list[int]:
    """How often each delivery of the handler was passed on; by itself of the one that only old code has."""
    row = event_deliveries.c
    query = select(row.passes).where(row.handler == handler, row.event_id.in_(ids))
    with system.pipeline.ledger.engine.connect() as connection:
        return list(connection.scalars(query))


@pytest.mark.parametrize(
    ("mode", "pool"),
    [("redis", "prefork"), ("rabbitmq", "solo"), alike("redis", "threads"), alike("rabbitmq", "prefork")],
)
def test_the_one_worker_that_can_run_it_takes_it_after_one_pass(mode: str, pool: str, tmp_path: Path) -> None:
    with System(mode, tmp_path, handlers="wider").in_use() as system:
        # Given one worker with old code among many with new code, which lacks a handler
        start_worker(system, "old", pool).wait_for("ready.")
        for worker in [start_worker(system, "new", pool) for _ in range(OTHERS if pool == "solo" else 2)]:
            worker.wait_for("ready.")
        # When events come for that handler
        ids = publish_as(system, "Stayed", count=COUNT)
        wanted = {(str(one), handler) for one in ids for handler in ("widens", "goes")}
        eventually(lambda: wanted <= set(system.effects()), "all of it is done")
        # Then it had no more than a pass or two to wait for each, and did each once
        assert sum(passes(system, ids)) <= 2 * COUNT
        assert set(system.effects().values()) == {1}


@pytest.mark.parametrize(
    ("mode", "one", "others", "version"),
    [("redis", "new", "old", 2), ("rabbitmq", "old", "new", 1), alike("rabbitmq", "new", "old", 2)],
)
def test_a_form_that_the_others_can_t_read_comes_to_the_one_worker_that_can(
    mode: str, one: str, others: str, version: int, tmp_path: Path
) -> None:
    with System(mode, tmp_path, handlers="deployed").in_use() as system:
        # Given one worker that can read an event, among many that have its handler, too, and can't
        start_worker(system, one, "solo").wait_for("ready.")
        for worker in [start_worker(system, others, "solo") for _ in range(OTHERS)]:
            worker.wait_for("ready.")
        # When such events come
        event_type, data = ("Grew", {"colour": "red"}) if version == 2 else ("GrewQuietly", {})
        ids = publish_as(system, event_type, version, COUNT, name="a", **data)
        assert system.settled(COUNT, *ids) == {"succeeded": COUNT}
        # Then each had a pass or two to wait for
        handler = "on_grew" if version == 2 else "on_grew_quietly"
        assert sum(passes(system, ids, handler)) <= 2 * COUNT


def test_a_queue_that_a_worker_was_told_to_leave_it_leaves_here_too(tmp_path: Path) -> None:
    with System("redis", tmp_path, handlers="wider").in_use() as system:
        # Given the one worker that can run it, which was told to take nothing more of its queue
        old = start_worker(system, "old", "solo")
        old.wait_for("ready.")
        start_worker(system, "new", "solo").wait_for("ready.")
        queue = system.pipeline.settings.queue
        with Celery(broker=system.environment["EVENTS_BROKER_URL"], set_as_current=False) as app:
            taking = app.control.inspect(timeout=10).active_queues()  # of whoever hears this broker
            mine = [name for name, kept in taking.items() if queue in [one["name"] for one in kept]]
            (name,) = [one for one in mine if tells(app, one, "goes")]
            app.control.cancel_consumer(queue, destination=[name], reply=True, timeout=10)
            # When events come for its handler, then they are passed on again and again
            ids = publish_as(system, "Stayed", count=2)
            eventually(lambda: passes(system, ids) and min(passes(system, ids)) >= 2, "passed on more than once")
            assert not [one for one in system.effects() if one[1] == "goes"]
            # Until it takes the queue again
            app.control.add_consumer(queue, destination=[name], reply=True, timeout=10)
        eventually(lambda: {(str(one), "goes") for one in ids} <= set(system.effects()), "all of it is done")


def tells(app: Celery, worker: str, handler: str) -> bool:
    """Whether that worker has a handler of this name."""
    return handler in (app.control.inspect([worker], timeout=10).registered() or {}).get(worker, [])
