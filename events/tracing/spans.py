"""Makes the spans of events, by OpenTelemetry's API, which only this module and `conventions` import.

    the request's own span
      '- publish CardAdded            the event carries the context of this span
           |- send CardAdded          for each handler, each time that its wake-up is sent
           '- process add_to_feed     for each attempt; linked to the attempt before it
                '- publish FeedChanged ...

The application decides where the spans go, when it sets up an SDK. Until then, none are made.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from uuid import UUID

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Tracer

from events.event import DomainEvent
from events.hooks import Watcher
from events.ledger import Carrier, Claim, Group, Outcome, Result, Traces
from events.tracing.context import carried, carried_by_row
from events.tracing.conventions import (
    NAME,
    W3C,
    attributes_of,
    attributes_of_published,
    end,
    headers_of,
    links_to,
    name_of,
    note_failure,
    type_of,
)

_FAILED = (Outcome.RETRY, Outcome.DEAD, Outcome.NOT_OURS)  # the attempt's effects are not in the database


class Spans(Watcher):
    """Makes the spans of one process.

    Args:
        traces: the part of the ledger that knows the contexts of events and attempts.
        queue_of: returns the queue of a handler, by the handler's name.
    """

    def __init__(self, traces: Traces, queue_of: Callable[[str], str]) -> None:
        self._traces = traces
        self._queue_of = queue_of
        self._sdk_tracer: Tracer | None = None
        self._processing: dict[tuple[UUID, str], _Process] = {}  # attempts whose outcome is not known yet
        self._of_thread = threading.local()

    def _tracer(self) -> Tracer | None:
        """The tracer; None until the application has set up an SDK, which it may do at any time, but only once."""
        if self._sdk_tracer is None:
            provider = trace.get_tracer_provider()
            if not isinstance(provider, trace.ProxyTracerProvider):
                self._sdk_tracer = provider.get_tracer(NAME)
        return self._sdk_tracer

    # Publishing

    def is_on(self) -> bool:
        return self._tracer() is not None or trace.get_current_span().get_span_context().is_valid

    @contextmanager
    def publishing(self, events: Sequence[DomainEvent]) -> Iterator[Sequence[Carrier]]:
        """See events.tracing.PublishTracing. The events share a span, except for those that have a parent already."""
        spans: list[Span] = []
        carriers: Sequence[Carrier] = [{}] * len(events)
        with suppress(Exception):  # an SDK that fails is no reason not to publish
            carriers = self._begin_publishing(events, spans)
        try:
            yield carriers
        except BaseException as error:
            for span in spans:
                note_failure(span, error)
            raise
        finally:
            for span in spans:
                end(span)

    def _begin_publishing(self, events: Sequence[DomainEvent], spans: list[Span]) -> Sequence[Carrier]:
        tracer = self._tracer()
        given = [carried(event.metadata) if isinstance(event, DomainEvent) else {} for event in events]
        orphans = [event for event, parent in zip(events, given, strict=True) if not parent]
        if tracer is None:
            ours = headers_of(trace.get_current_span()) if orphans else {}
            return [{} if parent else ours for parent in given]

        def begun(together: Sequence[DomainEvent], parent: Carrier) -> Carrier:
            span = tracer.start_span(
                name_of("publish", {type_of(event) for event in together}),
                W3C.extract(parent, contexts.get_current()),
                SpanKind.PRODUCER,
                attributes_of_published(together),
            )
            spans.append(span)
            return headers_of(span)

        ours = begun(orphans, {}) if orphans else {}
        return [begun([event], parent) if parent else ours for event, parent in zip(events, given, strict=True)]

    # Relaying

    def sending(self, groups: Sequence[Group]) -> None:
        self._of_thread.since = time.time_ns()

    def sent(self, groups: Sequence[Group]) -> None:
        tracer = self._tracer()
        if tracer is None:
            return
        since = getattr(self._of_thread, "since", None)
        # The relay doesn't need metadata otherwise, so it is read only here.
        parents = self._traces.of_events({wakeup.event_id for group in groups for wakeup in group})
        for group in groups:
            for wakeup in group:
                if (parent := parents.get(wakeup.event_id)) is None:
                    continue  # a span outside of every trace would be of no use
                attributes = attributes_of("send", wakeup.queue, wakeup.event_type, wakeup.event_id) | {
                    "events.handler": wakeup.handler,
                    "events.queue": wakeup.queue,
                }
                if len(group) > 1:
                    attributes["messaging.batch.message_count"] = len(group)
                context = W3C.extract(parent, Context())
                name = name_of("send", {wakeup.event_type})
                tracer.start_span(name, context, SpanKind.CLIENT, attributes, start_time=since).end()

    # Handling

    def around(self, claims: Sequence[Claim]) -> "_Process | None":
        tracer = self._tracer()
        if tracer is None:
            return None
        process = _Process(self._start(tracer, claims), len(claims))
        for claim in claims:
            before = self._processing.pop(_key(claim), None)  # the same attempt, begun anew
            self._processing[_key(claim)] = process
            if before is not None:
                before.settled(None)
        return process

    def traceparent(self, claim: Claim) -> str:
        process = self._processing.get(_key(claim))
        return "" if process is None else headers_of(process.span).get("traceparent", "")

    def attempted(self, claim: Claim, result: Result, took: float) -> None:
        process = self._processing.pop(_key(claim), None)
        if process is not None:
            process.settled(result)
        elif result.error is not None and result.outcome in _FAILED and (tracer := self._tracer()) is not None:
            # The handler was never called, because the event can't be read, for example.
            _Process(self._start(tracer, [claim]), 1).settled(result)

    def _start(self, tracer: Tracer, claims: Sequence[Claim]) -> Span:
        first, now = claims[0], contexts.get_current()
        queue = self._queue_of(first.handler)
        ours: dict[str, str | int] = {
            "messaging.consumer.group.name": first.handler,
            "events.handler": first.handler,
            "events.queue": queue,
        }
        name = name_of("process", {first.handler})
        if len(claims) > 1:  # the events may have several parents, so the span links to all of them
            kinds = {claim.envelope.event_type for claim in claims}
            attributes = attributes_of("process", queue, kinds.pop() if len(kinds) == 1 else "", None) | ours
            attributes["messaging.batch.message_count"] = len(claims)
            links = [link for claim in claims for link in links_to(carried_by_row(claim.envelope.metadata))]
            return tracer.start_span(name, now, SpanKind.CONSUMER, attributes, links)
        envelope = first.envelope
        attributes = attributes_of("process", queue, envelope.event_type, envelope.id) | ours
        attributes["events.attempt"] = first.attempt
        parent = W3C.extract(carried_by_row(envelope.metadata), now)
        return tracer.start_span(name, parent, SpanKind.CONSUMER, attributes, self._links_back(first))

    def _links_back(self, claim: Claim) -> Sequence[Link]:
        """The link to the span of the attempt before, if there was one."""
        if claim.token == 1:
            return ()
        with suppress(Exception):  # a span without its link is better than no span
            before = self._traces.before(claim.envelope.id, claim.handler, claim.token)
            return links_to({"traceparent": before}, {"events.link": "previous attempt"}) if before else ()
        return ()


class _Process:
    """A call of a handler. Its span is ended when the outcome is known, with the time when the handler returned."""

    def __init__(self, span: Span, count: int) -> None:
        self.span = span
        self._left = count  # deliveries whose outcome is not known yet
        self._error: BaseException | None = None
        self._ended: int | None = None

    def __enter__(self) -> None:
        self._token = contexts.attach(trace.set_span_in_context(self.span))

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        contexts.detach(self._token)
        self._ended = time.time_ns()
        if error is not None:
            self._error = error
            note_failure(self.span, error)

    def settled(self, result: Result | None) -> None:
        """Note the result of a delivery; None: another call has begun the same attempt anew."""
        self._left -= 1
        if result is not None:
            self.span.set_attribute("events.outcome", result.outcome.value)
            if result.outcome in _FAILED and result.error is not None and result.error is not self._error:
                note_failure(self.span, result.error)  # not the handler failed, but its commit, for example
        if self._left == 0:
            end(self.span, self._ended)


def _key(claim: Claim) -> tuple[UUID, str]:
    return claim.envelope.id, claim.handler
