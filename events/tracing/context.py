"""Reads the contexts of traces, without OpenTelemetry, which need not be installed.

The context of a trace (W3C Trace Context: `traceparent`, and `tracestate` if there is one) travels in the metadata of
events. Where OpenTelemetry's API is installed, `spans` makes the spans. Where it isn't, an event hands its context on
to the events that it causes, so that no trace is cut here.
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
    """The contract between a publisher and `Spans`, which makes the spans."""

    def is_on(self) -> bool:
        """Whether there may be a context to store. It is called for each publish(), so it has to be quick."""

    def publishing(self, events: Sequence[DomainEvent]) -> AbstractContextManager[Sequence[Carrier]]:
        """A context manager around the writing of these events. It yields the context to store with each event; an
        empty one leaves the event's own context as it is."""


def carried(metadata: Metadata) -> Carrier:
    """The context in an event's metadata; empty if there is none."""
    extra = metadata.model_extra
    return _headers(extra) if extra else {}


def carried_by_row(metadata: str) -> Carrier:
    """The context in the metadata of an event's row; empty if there is none, or the metadata can't be read."""
    if "traceparent" not in metadata:
        return {}
    with suppress(ValueError):
        fields = json.loads(metadata)
        return _headers(fields) if isinstance(fields, dict) else {}
    return {}


def trace_id(metadata: str = "") -> str:
    """The id of the trace that this thread is in, or else of the trace in a row's metadata; "" if there is none."""
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
