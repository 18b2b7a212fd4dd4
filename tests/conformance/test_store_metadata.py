"""Metadata is any JSON object: what is read back is what was written, however it is spaced and ordered."""

import json
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from events import DomainEvent, Metadata, handles, publish
from events.bridges.address import Address
from events.bridges.cloudevents import incoming
from events.bridges.contract import Message, Received
from events.bridges.forwarding import Forwarding
from events.current_pipeline import use_pipeline
from events.ledger.codec import decode
from events.ledger.envelope import Envelope
from events.settings.settings import Settings
from events.testing import InlinePipeline
from support.exactly import exactly
from support.store import Store, envelope_columns


class Labelled(DomainEvent):
    label: str = ""


class LabelledInSecret(DomainEvent, masked=("label",)):
    label: str = ""


class Post:
    """A bridge and its publisher, which keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def publisher(self) -> "Post":
        return self

    def send(self, messages: Sequence[Message]) -> None:
        self.sent += messages

    def close(self) -> None: ...


handled: dict[UUID, DomainEvent] = {}
post = Post()
forwarding = Forwarding(Address("fake", "fake://h", "there"), post, "/us")  # type: ignore[arg-type]


@handles(Labelled, LabelledInSecret)
def keep_and_forward(event: Labelled | LabelledInSecret) -> None:
    handled[event.event_id] = event
    forwarding.forward([event])


@pytest.fixture
def service(store: Store) -> Iterator[InlinePipeline]:
    pipeline = InlinePipeline(Settings(database_url=store.url, broker_url=""))
    use_pipeline(pipeline)
    yield pipeline
    use_pipeline(None)
    pipeline.close()


# No store has a NUL, and no encoding half a surrogate pair: publish() refuses them, and so does the database. As large
# as 1e16, a fraction that another program writes becomes a whole number in jsonb; what publish() writes stays one.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(-1e15, 1e15) | texts
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=4)
own = st.dictionaries(texts | st.sampled_from(["tenant", '"', "}", "correlation_id "]), values, max_size=3)
ids = st.dictionaries(st.sampled_from(["correlation_id", "causation_id"]), st.none() | texts)
objects = st.tuples(own, ids).flatmap(lambda both: st.permutations(list((both[0] | both[1]).items()))).map(dict)
gaps = st.sampled_from(["", " ", "\n\t"])
spacings = st.builds(
    lambda before, after, indent, escaped: {
        "separators": (f"{before},{after}", f"{before}:{after}"), "indent": indent, "ensure_ascii": escaped,
    },
    gaps, gaps, st.none() | st.integers(0, 2), st.booleans(),
)  # fmt: skip
some = settings(
    max_examples=15,
    phases=[Phase.generate],  # to look for a smaller example, in a database, takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def read_back(store: Store, event_ids: Sequence[UUID]) -> list[DomainEvent]:
    """Out of the database, as a worker would."""
    with store.ledger.engine.connect() as connection:
        rows = connection.execute(select(*envelope_columns())).all()
    found = {row.id: decode(Envelope(**row._mapping)) for row in rows if row.id in event_ids}
    return [found[event_id] for event_id in event_ids]


@some
@given(written=st.lists(st.tuples(objects, spacings, gaps), min_size=1, max_size=20))
def test_what_another_program_has_written_is_read_as_it_is(
    store: Store, written: list[tuple[dict[str, Any], dict[str, Any], str]]
) -> None:
    # Given rows of another program, whose metadata is any JSON object, in any spacing
    event_ids = [uuid4() for _ in written]
    for event_id, (metadata, spacing, gap) in zip(event_ids, written, strict=True):
        store.foreign(
            "INSERT INTO event_store (id, aggregate_id, event_type, event_data, metadata) VALUES (?, '', ?, '{}', ?)",
            str(event_id), "Labelled", f"{gap}{json.dumps(metadata, **spacing)}{gap}",
        )  # fmt: skip
    # When they are read, then each has its metadata, to the last key
    for event, (metadata, _, _) in zip(read_back(store, event_ids), written, strict=True):
        assert event.metadata == Metadata(**metadata)


@some
@given(told=st.lists(st.tuples(objects, texts, st.sampled_from([Labelled, LabelledInSecret])), min_size=1, max_size=20))
def test_what_is_published_reaches_the_handler_and_what_is_forwarded_its_receiver(
    store: Store, service: InlinePipeline, told: list[tuple[dict[str, Any], str, type[Labelled | LabelledInSecret]]]
) -> None:
    # Given events with metadata of the application's own
    events: list[Labelled | LabelledInSecret]
    events = [kind(label=label, metadata=Metadata(**metadata)) for metadata, label, kind in told]
    # When they are published and handled, by a handler that sends them on
    post.sent.clear()
    publish(events)
    service.run()
    # Then the handler got each as it was, and so does whoever reads it later; only a missing correlation id is added
    messages = {message.event_id: message for message in post.sent}
    for event, read in zip(events, read_back(store, [event.event_id for event in events]), strict=True):
        correlation = str(event.event_id) if event.metadata.correlation_id is None else event.metadata.correlation_id
        whole = event.model_copy(update={"metadata": _with_correlation(event.metadata, correlation)})
        assert exactly(handled[event.event_id]) == exactly(read) == exactly(whole)
        # And the receiver of the message gets the event's fields, and which events belong together
        sent = messages[str(event.event_id)]
        arrived = incoming(Received(sent.body, sent.headers(), "there"), "here", lambda _: None, 1_000_000)
        received = decode(arrived)
        assert isinstance(received, Labelled | LabelledInSecret)
        assert received.label == ("" if event.masked_fields else event.label)
        assert received.metadata.correlation_id == (correlation or str(received.event_id))
        assert received.metadata.causation_id == (event.metadata.causation_id or None)


def _with_correlation(metadata: Metadata, correlation: str) -> Metadata:
    return metadata.model_copy(update={"correlation_id": correlation})
