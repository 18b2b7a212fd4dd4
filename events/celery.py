"""What `celery -A events worker` and `celery -A events flower` find: the Celery app, and nothing else is named `app`.

Handlers are loaded here, at import: Celery would swallow their errors in a signal.
"""

import sys

from celery import Celery

from events.current_pipeline import current_settings, get_pipeline, serve
from events.django import start
from events.errors import EventsError
from events.handling import load_handlers
from events.text import printable, redact
from events.worker import app_of_plain_tasks, build_app, is_run_by_celery


def _build() -> Celery:
    start()
    serve()
    load_handlers(current_settings().handlers)
    pipeline = get_pipeline()  # after them: they may import an app whose broker stands in for EVENTS_BROKER_URL
    return app_of_plain_tasks(pipeline) or build_app(pipeline)


try:
    app = _build()
except EventsError as error:
    if is_run_by_celery():  # Celery would print a page of traceback around this line
        sys.exit(f"events: {printable(redact(str(error)))}")
    raise
