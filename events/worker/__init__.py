"""The Celery side: `celery -A events worker` as users know it, running deliveries.

`config` sets what the promise needs, `app` builds the Celery app, `tasks` runs one delivery as one task, `steps` puts
the relay into the worker, `consumer` hands back what this worker doesn't know.
"""
