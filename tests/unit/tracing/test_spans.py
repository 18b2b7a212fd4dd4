"""Traces: one from the request to the last handler, with spans by OpenTelemetry's API, and handed on without it."""

import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, TraceFlags, set_span_in_context
from sqlalchemy import Connection, select

from events import Delivery, DomainEvent, PublishError, Retry, get_engine, handles, publish
from events.event import Metadata
from events.ledger.outcome import Outcome
from events.store.tables import event_attempts, event_deliveries, event_store
from events.testing import InlinePipeline
from support.grouped import ForConnection, deliver, items, run_together, sent_together, tables

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Inquired(DomainEvent):
    then: str = ""


class Informed(DomainEvent):
    pass


class Surveyed(DomainEvent):
    pass


@handles(Inquired, retry=Retry(max_attempts=2))
async def informs(event: Inquired, connection: Connection, delivery: Delivery) -> None:
    publish(Informed())
    if event.then == "fail" and delivery.attempt == 1:
        raise ValueError("not today")
    if event.then == "lose the lease":
        connection.execute(event_deliveries.update().values(attempts=99))


@handles(Informed)
def learns(event: Informed) -> None:
    trace.get_current_span().set_attribute("learned", True)


@handles(Surveyed, batch=10)
def surveys(events: list[Surveyed]) -> None:
    publish(Informed())


class Tracing:
    """An application with an SDK, whose spans go into a list."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: object) -> None:
        self.provider = TracerProvider(**options)  # type: ignore[arg-type]
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        monkeypatch.setattr(trace, "get_tracer_provider", lambda: self.provider)

    def request(self, *events: DomainEvent) -> None:
        with self.provider.get_tracer("app").start_as_current_span("request"):
            publish(events)

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def span(self, name: str) -> ReadableSpan:
        (span,) = self.spans(name)
        return span


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch) -> Tracing:
    return Tracing(monkeypatch)


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.trace_id


def metadata_of(event_type: str) -> dict[str, str]:
    with get_engine().connect() as connection:
        kind = event_store.c.event_type == event_type
        return Metadata.model_validate_json(
            connection.scalars(select(event_store.c.metadata).where(kind)).one()
        ).model_dump()


def test_one_trace_from_the_request_to_the_last_handler(events_pipeline: InlinePipeline, tracing: Tracing) -> None:
    # When a request publishes, and a handler of it publishes, too
    tracing.request(inquired := Inquired())
    events_pipeline.run()
    # Then each has the right parent
    request, publish_inquired, process_informs = map(tracing.span, ("request", "publish Inquired", "process informs"))
    assert parent_of(publish_inquired) == id_of(request)
    assert parent_of(tracing.span("send Inquired")) == id_of(publish_inquired)
    assert parent_of(process_informs) == id_of(publish_inquired)
    publish_informed = tracing.span("publish Informed")
    assert parent_of(publish_informed) == id_of(process_informs)
    assert parent_of(tracing.span("send Informed")) == id_of(publish_informed)
    learns_it = tracing.span("process learns")
    assert parent_of(learns_it) == id_of(publish_informed)
    assert {trace_of(learns_it), trace_of(tracing.span("send Informed"))} == {trace_of(request)}
    # And says what it is about
    assert dict(process_informs.attributes or {}) == {
        "messaging.system": "celery-domain-events",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "events",
        "messaging.consumer.group.name": "informs",
        "messaging.message.id": str(inquired.event_id),
        "events.event_id": str(inquired.event_id),
        "events.event_type": "Inquired",
        "events.handler": "informs",
        "events.queue": "events",
        "events.attempt": 1,
        "events.outcome": "succeeded",
    }
    # And the handler's own code is in it
    assert (learns_it.attributes or {})["learned"] is True


def test_a_failure_is_an_error_and_the_retry_is_linked_to_it(events_pipeline: InlinePipeline, tracing: Tracing) -> None:
    tracing.request(Inquired(then="fail"))
    events_pipeline.run()
    failed, retried = tracing.spans("process informs")
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description == "ValueError: not today"
    assert [event.name for event in failed.events] == ["exception"]
    assert (failed.attributes or {})["events.outcome"] == "retry"
    assert (failed.attributes or {})["error.type"] == "ValueError"
    assert failed.links == ()
    assert [link.context.span_id for link in retried.links] == [id_of(failed)]
    assert (retried.attributes or {})["events.attempt"] == 2
    assert retried.status.status_code is StatusCode.UNSET
    assert parent_of(failed) == parent_of(retried)
    with get_engine().connect() as connection:
        assert connection.scalars(select(event_attempts.c.traceparent)).one().split("-")[2] == f"{id_of(failed):016x}"


def test_a_handler_that_went_well_and_was_not_committed_says_so(
    events_pipeline: InlinePipeline, tracing: Tracing
) -> None:
    tracing.request(Inquired(then="lose the lease"))
    ((_, result),) = events_pipeline.run()[:1]
    assert result.outcome is Outcome.NOT_OURS
    process = tracing.span("process informs")
    assert (process.attributes or {})["events.outcome"] == "not ours"
    assert (process.attributes or {})["error.type"] == "events.errors.LeaseLost"
    assert process.status.status_code is StatusCode.ERROR


def test_a_batch_is_linked_to_all_its_events(events_pipeline: InlinePipeline, tracing: Tracing) -> None:
    # Given two events of two requests
    for _ in range(2):
        tracing.request(Surveyed())
    # When they are handled in one call
    deliver(events_pipeline, sent_together(events_pipeline, "surveys"))
    # Then one span is linked to both, and what it publishes is in its own trace
    batch = tracing.span("process surveys")
    published = tracing.spans("publish Surveyed")
    assert sorted(link.context.span_id for link in batch.links) == sorted(map(id_of, published))
    assert batch.parent is None
    assert (batch.attributes or {})["messaging.batch.message_count"] == 2
    assert parent_of(tracing.span("publish Informed")) == id_of(batch)


def test_in_a_group_each_delivery_has_its_own_span(events_pipeline: InlinePipeline, tracing: Tracing) -> None:
    tables.create_all(get_engine())
    assert run_together(events_pipeline, *items(ForConnection, 3, do="fail", place=1)) == [
        Outcome.SUCCEEDED, Outcome.HANDED_BACK, Outcome.SUCCEEDED,
    ]  # fmt: skip
    spans = tracing.spans("process by_connection")
    assert len({id_of(span) for span in spans}) == 3
    outcomes = [str((span.attributes or {})["events.outcome"]) for span in spans]
    assert sorted(outcomes) == ["handed back", "succeeded", "succeeded"]
    # What was published together has one parent
    assert {parent_of(span) for span in spans} == {id_of(tracing.span("publish ForConnection"))}
    assert (tracing.span("publish ForConnection").attributes or {})["messaging.batch.message_count"] == 3


def test_a_group_that_is_undone_leaves_no_span_open(events_pipeline: InlinePipeline, tracing: Tracing) -> None:
    # Given a handler that breaks the transaction of its group
    tables.create_all(get_engine())
    outcomes = run_together(events_pipeline, *items(ForConnection, 2, do="roll back", place=1))
    # Then the spans of both say that they are tried again
    assert outcomes == [Outcome.HANDED_BACK] * 2
    assert [(span.attributes or {})["events.outcome"] for span in tracing.spans("process by_connection")] == [
        "handed back"
    ] * 2


def test_a_parent_that_is_given_wins(events_pipeline: InlinePipeline, tracing: Tracing) -> None:
    given = {"traceparent": PARENT, "tracestate": "vendor=1"}
    tracing.request(Inquired.model_validate({"metadata": given}), Surveyed())
    events_pipeline.run()
    assert parent_of(tracing.span("publish Inquired")) == int(PARENT.split("-")[2], 16)
    assert parent_of(tracing.span("publish Surveyed")) == id_of(tracing.span("request"))
    assert int(PARENT.split("-")[1], 16) in map(trace_of, tracing.spans("process learns"))
    assert metadata_of("Inquired")["tracestate"] == "vendor=1"


@pytest.mark.parametrize("nonsense", ["", "x", PARENT[:-3], f"ff{PARENT[2:]}", "0" * 5000])
def test_a_parent_that_is_nonsense_is_none(events_pipeline: InlinePipeline, tracing: Tracing, nonsense: str) -> None:
    publish(Inquired.model_validate({"metadata": {"traceparent": nonsense, "tracestate": "vendor=1"}}))
    assert {result.outcome for _, result in events_pipeline.run()} == {Outcome.SUCCEEDED}
    assert tracing.span("publish Inquired").parent is None
    assert "tracestate" not in metadata_of("Inquired")


def test_what_is_not_sampled_stays_so(events_pipeline: InlinePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    off = Tracing(monkeypatch, sampler=ALWAYS_OFF)
    off.request(Inquired())
    events_pipeline.run()
    assert int(metadata_of("Inquired")["traceparent"].split("-")[3], 16) & TraceFlags.SAMPLED == 0
    assert off.spans("request") == off.spans("process informs") == []
    assert metadata_of("Informed")["traceparent"].split("-")[1] == metadata_of("Inquired")["traceparent"].split("-")[1]


def test_without_an_sdk_the_current_context_is_stored_and_handed_on(events_pipeline: InlinePipeline) -> None:
    # Given a context that came with the request, and nobody to make spans
    _, trace_id, span_id, _ = PARENT.split("-")
    current = NonRecordingSpan(SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(1)))
    token = context.attach(set_span_in_context(current))
    # When something is published
    publish(Inquired())
    context.detach(token)
    events_pipeline.run()
    # Then it goes from event to event
    assert metadata_of("Inquired")["traceparent"] == PARENT
    assert metadata_of("Informed")["traceparent"] == PARENT


def test_where_there_is_no_trace_none_is_invented(events_pipeline: InlinePipeline) -> None:
    publish(Inquired())
    events_pipeline.run()
    assert metadata_of("Inquired").keys() == {"correlation_id", "causation_id"}
    assert "traceparent" not in metadata_of("Informed")


def test_a_publish_that_fails_is_an_error(events_pipeline: InlinePipeline, tracing: Tracing) -> None:
    with pytest.raises(PublishError):
        publish(["not an event"])  # type: ignore[list-item]
    assert tracing.span("publish").status.status_code is StatusCode.ERROR


def test_an_sdk_that_breaks_breaks_nothing(events_pipeline: InlinePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an SDK that can do nothing
    class Broken(SpanProcessor):
        def on_start(self, *_: object, **__: object) -> None:
            raise RuntimeError("broken")

        on_end = on_start

    Tracing(monkeypatch).provider.add_span_processor(Broken())
    # When an event goes its way, then it arrives
    publish(Inquired())
    assert [result.outcome for _, result in events_pipeline.run()] == [Outcome.SUCCEEDED] * 2


WITHOUT = """
import sys
sys.modules["opentelemetry"] = None  # as if it were not installed
from events import DomainEvent, handles, publish
from events.current_pipeline import use_pipeline
from events.settings import Settings
from events.testing import InlinePipeline

class Inquired(DomainEvent): pass
class Informed(DomainEvent): pass
@handles(Inquired)
def informs(event: Inquired) -> None: publish(Informed())
@handles(Informed)
def learns(event: Informed) -> None: print(event.metadata.traceparent, event.metadata.tracestate)

pipeline = InlinePipeline(Settings(database_url=sys.argv[1], broker_url=""))
pipeline.migrate()
use_pipeline(pipeline)
publish(Inquired(metadata={"traceparent": sys.argv[2], "tracestate": "vendor=1"}))
pipeline.run()
print([name for name in sys.modules if name.startswith("opentelemetry.")])
"""


def test_where_it_is_not_installed_a_trace_is_handed_on(tmp_path: Path) -> None:
    script = tmp_path / "without.py"
    script.write_text(WITHOUT)
    done = subprocess.run(
        [sys.executable, script, f"sqlite:///{tmp_path / 'events.db'}", PARENT],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"{PARENT} vendor=1", "[]"]
