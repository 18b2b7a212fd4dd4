"""Settings of the team, for two brokers; some of them would be bad for handlers."""

import json
import os

from kombu import Queue

broker_url = os.environ.get("MARKET_BROKER_URL", "")
result_backend = os.environ.get("MARKET_RESULTS_URL", "")
task_default_queue = os.environ.get("MARKET_QUEUE", "market")
_slow = f"{task_default_queue}-slow"
task_queues = [Queue(task_default_queue), Queue(_slow)]
task_routes = {"market.tasks.slowly": {"queue": _slow}, "*": {"queue": task_default_queue}}
task_create_missing_queues = False
task_serializer = "pickle"
result_serializer = "pickle"
accept_content = ["pickle"]
task_acks_late = False
task_reject_on_worker_lost = True
task_acks_on_failure = False
task_track_started = True
task_annotations = {"*": {"acks_late": False, "rate_limit": "100000/s", "ignore_result": False}}
task_default_rate_limit = "100000/s"
task_send_sent_event = True
worker_send_task_events = True
worker_prefetch_multiplier = 0
worker_cancel_long_running_tasks_on_connection_loss = True
broker_connection_retry_on_startup = True
broker_transport_options = {"visibility_timeout": 3600} if broker_url.startswith("redis") else {}
broker_transport_options |= json.loads(os.environ.get("MARKET_TRANSPORT_OPTIONS", "{}"))
if authority := os.environ.get("MARKET_AUTHORITY"):
    broker_use_ssl = {"ssl_cert_reqs": "required", "ssl_ca_certs": authority}
beat_schedule = {"tick": {"task": "market.tasks.tick", "schedule": 1.0}}
beat_schedule_filename = os.environ.get("MARKET_BEAT_FILE", "celerybeat-schedule")
