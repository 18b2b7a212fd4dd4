"""Opens tracing where OpenTelemetry is installed."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from events.ledger import Traces

if TYPE_CHECKING:
    from events.tracing.spans import Spans


def open_tracing(traces: Traces, queue_of: Callable[[str], str]) -> "Spans | None":
    """The watcher that makes spans in this process; None if OpenTelemetry's API is not installed.

    Args:
        traces: the part of the ledger that knows the contexts of events and attempts.
        queue_of: returns the queue of a handler, by the handler's name.
    """
    try:
        from events.tracing.spans import Spans  # here: importing it fails where OpenTelemetry isn't installed
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        return None
    return Spans(traces, queue_of)
