"""A Celery application whose plain tasks belong to the transactions in which they are sent: `events.outbox(app)`."""
