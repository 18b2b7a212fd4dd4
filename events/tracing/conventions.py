"""The names and attributes of spans, and the form in which their contexts travel.

Names and attributes follow OpenTelemetry's semantic conventions for messaging. Attributes that those don't have begin
with `events.`.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from uuid import UUID

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from events.event import DomainEvent
from events.ledger import Carrier

NAME = "celery-domain-events"
W3C = TraceContextTextMapPropagator()


def name_of(operation: str, objects: set[str]) -> str:
    """The name of a span: the operation, and its object, an event type or a handler, if there is only one."""
    only = objects.pop() if len(objects) == 1 else ""
    return f"{operation} {only}".rstrip()


def type_of(event: object) -> str:
    return event.event_name if isinstance(event, DomainEvent) else ""


def attributes_of(operation: str, destination: str, event_type: str, event_id: UUID | None) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        "messaging.system": NAME,
        "messaging.operation.name": operation,
        "messaging.operation.type": "create" if operation == "publish" else operation,
    }
    if destination:
        attributes["messaging.destination.name"] = destination
    if event_type:
        attributes["events.event_type"] = event_type
    if event_id is not None:
        attributes["messaging.message.id"] = attributes["events.event_id"] = str(event_id)
    return attributes


def attributes_of_published(events: Sequence[DomainEvent]) -> Mapping[str, str | int]:
    kinds = {type_of(event) for event in events}
    kind = kinds.pop() if len(kinds) == 1 else ""
    if len(events) > 1:
        return attributes_of("publish", kind, kind, None) | {"messaging.batch.message_count": len(events)}
    return attributes_of("publish", kind, kind, getattr(events[0], "event_id", None))


def headers_of(span: Span) -> Carrier:
    """The context of a span in the form in which it travels; empty if the span has no valid one."""
    context = span.get_span_context()
    if not context.is_valid:
        return {}
    carrier = {"traceparent": f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"}
    if context.trace_state:
        carrier["tracestate"] = context.trace_state.to_header()
    return carrier


def links_to(carrier: Carrier, attributes: Mapping[str, str] | None = None) -> list[Link]:
    context = trace.get_current_span(W3C.extract(carrier, Context())).get_span_context()
    return [Link(context, attributes)] if context.is_valid else []


def note_failure(span: Span, error: BaseException) -> None:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    with suppress(Exception):  # str() of the error may fail, for example
        span.set_attribute("error.type", name)
        span.set_status(Status(StatusCode.ERROR, name))
        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, f"{name}: {error}"[:500]))


def end(span: Span, at: int | None = None) -> None:
    with suppress(Exception):
        span.end(at)
