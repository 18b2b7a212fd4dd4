"""Settings, from the environment; those that Celery reads are in lower case."""

import os

from celery.schedules import crontab
from kombu import Queue

DATABASE_URL = os.environ["DATABASE_URL"]

broker_url = os.environ.get("BROKER_URL", "redis://localhost:6379/0")
broker_connection_retry_on_startup = True
result_backend = os.environ.get("RESULT_URL", "redis://localhost:6379/1")
result_extended = True
task_default_queue = "shop"
task_queues = [Queue("shop"), Queue("mail"), Queue("reports")]
task_routes = {"shop.tasks.mail.*": {"queue": "mail"}, "shop.tasks.reports.*": {"queue": "reports"}}
task_track_started = True
beat_schedule_filename = os.environ.get("BEAT_FILE", "celerybeat-schedule")
beat_schedule = {
    "heartbeat": {"task": "shop.tasks.upkeep.heartbeat", "schedule": 1.0, "options": {"expires": 60}},
    "count": {"task": "shop.tasks.stock.count_stock", "schedule": 1.0, "args": ("saw",)},
    "carts": {"task": "shop.tasks.upkeep.forget_carts", "schedule": crontab(hour="3", minute="0")},
}
