"""How a worker that can't start ends: with one line."""

import sys
from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import DBAPIError

from events.errors import EventsError
from events.store import refusal
from events.text import printable, redact


def or_exit(action: Callable[[], Any]) -> None:
    """An error of ours, or a database that refuses, ends the worker; Celery would print a traceback and go on."""
    try:
        action()
    except (EventsError, DBAPIError) as error:
        line = refusal(error) if isinstance(error, DBAPIError) else str(error)
        # Past sys.stderr, which Celery replaces by a logger.
        print(f"events: {printable(redact(line))}", file=sys.__stderr__, flush=True)
        raise SystemExit(1) from None
