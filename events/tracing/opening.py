"""Tracing where there is OpenTelemetry, and none where it is not installed."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from events.ledger import Traces

if TYPE_CHECKING:
    from events.tracing.spans import Spans


def open_tracing(traces: Traces, queue_of: Callable[[str], str]) -> "Spans | None":
    """Who makes spans in this process; None if OpenTelemetry's API is not installed.

    Args:
        queue_of: the queue of a handler, by its name.
    """
    try:
        from events.tracing.spans import (
            Spans,  # here: nothing of OpenTelemetry is to be imported where it isn't installed
        )
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        return None
    return Spans(traces, queue_of)
