"""The control: the same handlers as plain Celery tasks, as careful as plain Celery can be. Its losses are the point."""

import os
import time
from collections.abc import Callable

from celery import Celery, Task
from celery.signals import worker_process_init
from sqlalchemy import insert

from events import get_engine
from events.settings import load_settings
from rigs.chaos import application as shop
from rigs.chaos import tables

app = Celery("control", broker=load_settings().broker_url)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    task_default_queue=os.environ["EVENTS_QUEUE"],
    broker_transport_options={"visibility_timeout": 60} if "redis" in load_settings().broker_url else {
        "confirm_publish": True},
)  # fmt: skip


@worker_process_init.connect
def _own_connections(**_: object) -> None:
    get_engine().dispose(close=False)


def _run(task: Task, event_id: str) -> None:
    attempt = task.request.retries + 1
    handler = task.name
    tables.note_start(event_id, handler, attempt)
    with get_engine().begin() as connection:
        connection.execute(insert(tables.effects), tables.effect(event_id, handler, attempt))
        if handler == "fails_now_and_then" and tables.is_unlucky(event_id, attempt):
            raise ConnectionError("out of luck")
        if handler == shop.HOPELESS:
            raise ValueError("never")
        if handler == "takes_its_time":
            time.sleep(tables.slowness(event_id))
    if handler == "publishes":
        tasks[shop.FOLLOWS].apply_async((event_id,))


def _task(name: str) -> Task:
    def body(self: Task, event_id: str) -> None:
        _run(self, event_id)

    attempts = 2 if name == shop.HOPELESS else 50
    decorate: Callable[..., Task] = app.task(
        name=name, bind=True, autoretry_for=(Exception,), retry_backoff=0.2, retry_backoff_max=2,
        max_retries=attempts - 1,
    )  # fmt: skip
    return decorate(body)


tasks = {name: _task(name) for names in shop.EXPECTED.values() for name in names} | {shop.FOLLOWS: _task(shop.FOLLOWS)}
