"""Plain tasks of an application's own Celery app: they are rows of the caller's transaction until it commits.

Open first: `outbox`, then `message` and `sending`.
"""
