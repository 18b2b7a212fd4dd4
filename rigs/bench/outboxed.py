"""A Celery app with a task that does nothing but say so: with an outbox, or as plain Celery has it."""

import os

from celery import Celery

import events
from rigs.bench import records

HAS_OUTBOX = "BENCH_OUTBOX"
CONFIRMED = "BENCH_CONFIRMED"  # whether plain `delay()` waits until RabbitMQ has the message, as the outbox does

app = Celery("outboxed", broker=os.environ.get("BENCH_BROKER_URL"))
app.config_from_object("celeryconfig")
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_default_queue="outboxed",
    broker_connection_retry_on_startup=True,
)
if os.environ.get(CONFIRMED) == "on":
    app.conf.broker_transport_options = {"confirm_publish": True}
if os.environ.get(HAS_OUTBOX) == "on":
    events.install(app)
    events.outbox(app)


@app.task
def silent(number: int, customer: str) -> None:  # noqa: ARG001 - a task of two arguments is more like a task
    records.note(number)
