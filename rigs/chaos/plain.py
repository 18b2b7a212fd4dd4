"""The plain tasks of the application: `tells`, which is sent to the broker or run without one, and `charges`, whose
effect is exactly once. Both are sent in a transaction with a business row.

What is promised of `tells` is that it is sent: the broker's confirmation is noted, for the broker may lose it later.
"""

from typing import Any

from celery import Celery, signals
from sqlalchemy import Connection, insert

import events
from events import Delivery
from events.retry import Retry, seconds
from events.settings import load_settings
from rigs.chaos.tables import effect, effects, is_unlucky, note_start

SENT = "sends"  # what is noted of each task that was sent, or run
CHARGED = "charges"

app = Celery("chaos", broker=load_settings().broker_url or None, set_as_current=False)
app.conf.update(task_ignore_result=True, task_default_queue="chaos-plain")
events.outbox(app)


@app.task(name="tells")
def tells(event_id: str) -> None:
    note_start(event_id, SENT, 1)


@events.transactional(
    app, name=CHARGED, exactly_once=True,
    retry=Retry(max_attempts=50, backoff=seconds(0.2), max_backoff=seconds(2)),
)  # fmt: skip
def charges(event_id: str, connection: Connection, delivery: Delivery) -> None:
    note_start(event_id, CHARGED, delivery.attempt)
    connection.execute(insert(effects), effect(event_id, CHARGED, delivery.attempt))
    if is_unlucky(event_id, delivery.attempt):
        raise ConnectionError("out of luck")


@signals.after_task_publish.connect
def _sent(headers: dict[str, Any], **_: Any) -> None:
    if headers.get("task") == tells.name:
        note_start(headers["id"], SENT, 1)
