"""Whatever anybody sends becomes an event that every database takes, or is refused with a reason; nothing else."""

import json
from uuid import NAMESPACE_URL, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import DomainEvent
from events.bridges.arrival import OwnEvent
from events.bridges.cloudevents import incoming
from events.bridges.contract import Received
from events.errors import Unacceptable


class Rung(DomainEvent, aggregate_id="bell"):
    bell: str
    loud: float = 0.0


ANY_TEXT = st.text(st.characters(blacklist_categories=[])) | st.sampled_from(
    ["", "\0", "\ud800", "\\u0000", "Rung", "1.0"]
)
ANY_NUMBER = st.integers() | st.floats() | st.booleans() | st.none()
NAMES = st.sampled_from(
    ["bell", "loud", "eventId", "eventType", "aggregateId", "dateTimeOccurred", "timestamp", "specversion", "id",
     "source", "type", "subject", "time", "data", "data_base64", "schemaversion", "traceparent", "correlationid"]
) | ANY_TEXT  # fmt: skip
ANYTHING = st.recursive(ANY_NUMBER | ANY_TEXT, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner))
BODIES = st.binary() | st.dictionaries(NAMES, ANYTHING).map(lambda value: json.dumps(value).encode())
HEADERS = st.dictionaries(NAMES.map("ce-{}".format) | st.sampled_from(["content-type", "traceparent"]), ANY_TEXT)


def no_json(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


@given(BODIES, HEADERS, ANY_TEXT, st.sampled_from(["Rung", "Foreign", ""]))
def test_it_is_an_event_or_is_refused(body: bytes, headers: dict[str, str], position: str, event_type: str) -> None:
    received = Received(body, headers, "a", position, event_type)
    try:
        envelope = incoming(received, "b", lambda _: None, 10_000, "/us")
    except (Unacceptable, OwnEvent):
        return
    for text in (envelope.event_data, envelope.metadata, envelope.aggregate_id, envelope.event_type):
        assert "\0" not in text
        text.encode()
    assert isinstance(json.loads(envelope.event_data, parse_constant=no_json), dict)
    json.loads(envelope.metadata, parse_constant=no_json)


@pytest.mark.parametrize("event_type", ["Rung", "Foreign"])
@pytest.mark.parametrize(
    "body",
    [
        b'{"bell": "b", "loud": 1e999}',
        b'{"bell": "b", "eventId": "\\ud800"}',
        b'{"specversion": "1.0", "id": "1", "source": "\\udfff", "data": {"bell": "b"}}',
        b'{"specversion": "1.0", "id": "1", "subject": "\\ud800", "data": {}}',
        b'{"bell": "b", "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=[
        "a number beyond all",
        "half a character as id",
        "half a character as source",
        "... as subject",
        "a deep hole",
    ],
)
def test_what_once_was_asked_for_again_and_again_is_refused(event_type: str, body: bytes) -> None:
    with pytest.raises(Unacceptable):
        incoming(Received(body, {}, "a", "1", event_type), "b", lambda _: None, 1_000_000)


@pytest.mark.parametrize("depth", range(100, 1_100, 7))
def test_how_deep_it_may_be_is_somebodys_limit_and_nobodys_end(depth: int) -> None:
    body = b'{"bell": "b", "deep": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    for event_type in ("Rung", "Foreign"):
        try:
            found = incoming(Received(body, {}, "a", "1", event_type), "b", lambda _: None, 1_000_000)
        except Unacceptable:
            continue
        assert found.id == uuid5(NAMESPACE_URL, "b:a at 1")
