"""A worker's log, as text or as JSON. Celery sets up its logging as ever, with level and file; we only replace the
formatters, in the main process and in the pool's children."""

import json
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from billiard import get_logger as logger_of_billiard
from celery import signals
from celery.apps import worker as worker_program

from events.hooks import Hooks
from events.monitoring import DeliveryLogs, JsonFormatter, about, make_plain
from events.worker.outcome_lines import CLAIMS


def log_in_text() -> None:
    """Log as Celery does, but fit for a terminal. Call this before Celery sets up its logging."""

    def set_up(logger: Any = None, **_: Any) -> None:
        for one in (logger, logger_of_billiard()):
            make_plain(one)

    signals.after_setup_logger.connect(set_up, weak=False)
    signals.after_setup_task_logger.connect(set_up, weak=False)


def log_in_json(hooks: Hooks) -> None:
    """Log as JSON, in this process and its children. Call this before Celery sets up its logging."""
    hooks.add(DeliveryLogs())
    formatter = JsonFormatter(also=_of_outcome)
    early = logging.StreamHandler()  # for warnings before logging is set up, such as Celery's about running as root
    early.setFormatter(formatter)

    def beginning(**_: Any) -> None:
        logging.captureWarnings(True)
        logging.getLogger("py.warnings").addHandler(early)
        if hasattr(worker_program, "safe_say"):
            worker_program.safe_say = _say

    def set_up(logger: Any = None, **_: Any) -> None:
        logging.getLogger("py.warnings").removeHandler(early)
        for one in (logger, logger_of_billiard()):
            for handler in one.handlers:
                handler.setFormatter(formatter)

    signals.celeryd_init.connect(beginning, weak=False)
    signals.after_setup_logger.connect(set_up, weak=False)
    signals.after_setup_task_logger.connect(set_up, weak=False)


def _of_outcome(record: logging.LogRecord) -> Mapping[str, object]:
    """The fields of the deliveries whose outcome a record tells: their handler has ended already."""
    claims = getattr(record, CLAIMS, None)
    return about(claims) if claims else {}


def _say(message: str, file: Any = sys.__stderr__) -> None:
    """Print what Celery prints in signal handlers, past its log. This function may take no lock."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"time": now, "level": "WARNING", "logger": "celery.worker", "message": str(message).strip()}
    with suppress(Exception):
        os.write(file.fileno(), f"{json.dumps(line)}\n".encode())
