"""A worker that can't start ends with one line."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from events.errors import EventsError
from events.store import refusal
from events.text import printable, redact


def or_exit(action: Callable[[], Any]) -> Any:
    """Run the action, and return its result.

    An EventsError or an error of the database ends the worker, with one line and exit code 1.

    Celery itself would print a traceback and go on.
    """
    try:
        return action()
    except (EventsError, DBAPIError) as error:
        line = refusal(error) if isinstance(error, DBAPIError) else str(error)
        # sys.__stderr__, since Celery replaces sys.stderr by a logger.
        print(f"events: {printable(redact(line))}", file=sys.__stderr__, flush=True)
        raise SystemExit(1) from None


def is_run_by_celery() -> bool:
    """Whether this process is the command `celery`."""
    program = Path(sys.argv[0])
    return "celery" in (program.name, program.parent.name)
