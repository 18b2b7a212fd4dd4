"""Makes spans by OpenTelemetry's API; where the API is not installed, trace contexts are handed on as they came.

May import: hooks, ledger and the words below. Open first: `context`. Only `spans` and `conventions` import
OpenTelemetry, and this door does not import them.
"""

from events.tracing.context import HEADERS, PublishTracing, carried, trace_id
from events.tracing.opening import open_tracing

__all__ = [
    "HEADERS",
    "PublishTracing",
    "carried",
    "open_tracing",
    "trace_id",
]
