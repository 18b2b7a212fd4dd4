"""The application's own choices for its Celery workers. Optional; what delivery needs is set by `events` itself.

https://docs.celeryq.dev/en/stable/userguide/configuration.html
"""

# Task events are what Flower shows. They cost a busy worker up to a third of its speed: False if nobody watches.
worker_send_task_events = True

# A child process is replaced after this many deliveries, so that a leak in a handler stays small.
worker_max_tasks_per_child = 10_000

worker_log_format = "%(asctime)s %(levelname)s %(processName)s %(name)s: %(message)s"
worker_task_log_format = "%(asctime)s %(levelname)s %(processName)s %(task_name)s[%(task_id)s]: %(message)s"
