"""The team's `celery.py`. Without $DEPOT_BROKER_URL it has no broker."""

import os

from celery import Celery
from kombu import Queue

import events

app = Celery("depot", broker=os.environ.get("DEPOT_BROKER_URL") or None, include=["depot.tasks"])
app.conf.result_backend = os.environ.get("DEPOT_RESULTS_URL")
app.conf.task_default_queue = os.environ.get("DEPOT_QUEUE", "depot")
app.conf.task_queues = [Queue(app.conf.task_default_queue), Queue(f"{app.conf.task_default_queue}-slow")]
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_send_task_events = True
app.conf.task_send_sent_event = True

events.install(app)
events.outbox(app)
