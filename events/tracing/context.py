"""Traces, as far as they can be spoken of without OpenTelemetry, which need not be installed.

The context of a trace (W3C Trace Context: `traceparent`, and `tracestate` if there is one) travels in the metadata of
events. Where OpenTelemetry's API is installed, `spans` makes spans of what happens; where it isn't, what is given is
handed on to what it causes, so that no trace is cut here.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Protocol

from events.event import DomainEvent, Metadata
from events.ledger import Carrier

HEADERS = ("traceparent", "tracestate")


class PublishTracing(Protocol):
    """What a publisher asks of whoever makes spans."""

    def is_on(self) -> bool:
        """Whether there is any context to be stored; asked each time, so it is quick."""

    def publishing(self, events: Sequence[DomainEvent]) -> AbstractContextManager[Sequence[Carrier]]:
        """Entered around their writing; for each the context to be stored with it, empty to leave it as it is."""


def carried(metadata: Metadata) -> Carrier:
    """The context that an event brings along; empty if it has none."""
    extra = metadata.model_extra
    return _headers(extra) if extra else {}


def carried_by_row(metadata: str) -> Carrier:
    """The same of an event that is still a row; empty for what can't be read."""
    if "traceparent" not in metadata:
        return {}
    with suppress(ValueError):
        found = json.loads(metadata)
        return _headers(found) if isinstance(found, dict) else {}
    return {}


def trace_id(metadata: str = "") -> str:
    """The id of the trace that this thread is in, else of the one that a row's metadata names; "" if there is none."""
    api = sys.modules.get("opentelemetry.trace")
    if api is not None:
        context = api.get_current_span().get_span_context()
        if context.is_valid:
            return f"{context.trace_id:032x}"
    parts = carried_by_row(metadata).get("traceparent", "").split("-")
    return parts[1] if len(parts) >= 4 else ""


def _headers(mapping: Mapping[str, object]) -> Carrier:
    if not isinstance(mapping.get("traceparent"), str):
        return {}
    return {name: value for name in HEADERS if isinstance(value := mapping.get(name), str)}
