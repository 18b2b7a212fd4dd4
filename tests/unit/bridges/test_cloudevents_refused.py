"""What comes in by a bridge and is no event, or no CloudEvent: refused, with a reason."""

import json
from typing import Any

import pytest

from events.bridges.cloudevents import OwnEvent, incoming, outgoing
from events.bridges.contract import Received
from events.bridges.forms import STRUCTURED
from events.errors import Unacceptable
from support.cloud_events import BINARY, WHOLE, accepted, arrived, shelved


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (b"\xff\xfe", {}, "unreadable"),
        (b"[" * 100_000, {}, "unreadable"),
        (b"[1]", {}, "unreadable"),
        (b'"text"', {}, "unreadable"),
        (b'"{"', {}, "unreadable"),
        (b'"[1]"', {}, "unreadable"),
        (b'{"library": NaN}', {}, "unreadable"),
        (b'{"specversion": "1.0", "type": "Shelved", "data": "text"}', {}, "unreadable"),
        (b'{"library": 7}', {}, "wrong data"),
        (b'{"library": "a\\u0000b"}', {}, "wrong data"),
        (b'{"library": "\\ud800"}', {}, "wrong data"),
        (b'{"library": "l", "dateTimeOccurred": "yesterday"}', {}, "wrong data"),
        (b'{"library": "l"}', BINARY | {"ce-schemaversion": "0"}, "wrong data"),
        (b'{"library": "l"}', BINARY | {"ce-id": "x" * 300}, "wrong data"),
        (b'{"library": "' + b"x" * 300 + b'"}', {}, "wrong data"),
        (b'{"library": "' + b"x" * 20_000 + b'"}', {}, "too large"),
    ],
)
def test_what_is_no_event_is_refused_with_a_reason(body: bytes, headers: dict[str, str], reason: str) -> None:
    with pytest.raises(Unacceptable) as refused:
        accepted(Received(body, headers, "events:X", "1-0", "Shelved"))
    assert refused.value.reason == f"bridge: {reason}"


def test_without_any_word_of_the_type_it_is_unreadable() -> None:
    with pytest.raises(Unacceptable, match="neither ce-type nor eventType"):
        accepted(Received(b"{}", {}, "somewhere", "1-0"))


def test_what_we_sent_ourselves_is_no_event_of_others() -> None:
    ours = arrived(outgoing(shelved(), "/lib"))
    with pytest.raises(OwnEvent):
        incoming(ours, "redis", lambda _: None, 10_000, "/lib")
    assert incoming(ours, "redis", lambda _: None, 10_000, "/other").event_type == "Shelved"


@pytest.mark.parametrize("structured", [False, True], ids=["binary", "structured"])
@pytest.mark.parametrize(
    "wrong",
    [{"id": None}, {"source": None}, {"type": None}, {"id": ""}, {"specversion": "0.3"}, {"specversion": "1.1"},
     {"specversion": "x" * 500}],
    ids=str,
)  # fmt: skip
def test_a_cloud_event_that_lacks_what_each_must_have_is_none(structured: bool, wrong: dict[str, str | None]) -> None:
    said = {name: value for name, value in (WHOLE | wrong).items() if value is not None}
    if structured:
        received = Received(json.dumps(said | {"data": {"library": "l"}}).encode(), {}, "a", "1", "Shelved")
    else:
        headers = {f"ce-{name}": value for name, value in said.items()}
        received = Received(b'{"library": "l"}', headers, "a", "1", "Shelved")
    with pytest.raises(Unacceptable, match="it is a CloudEvent") as refused:
        accepted(received)
    assert refused.value.reason == "bridge: unreadable"


@pytest.mark.parametrize("prefix", ["ce-", "ce_", "cloudevents_", "cloudevents:"])
@pytest.mark.parametrize(
    "said", [["type", "id", "source"], ["type", "source", "specversion"], ["id", "type", "time"], ["subject"], ["time"]]
)
def test_a_part_of_a_cloud_event_beside_the_body_is_none(prefix: str, said: list[str]) -> None:
    # Given a message with some headers of a CloudEvent: without an id, or a source, it would be another event each time
    whole = WHOLE | {"time": "2026-11-28T09:30:01Z", "subject": "l"}
    headers = {f"{prefix}{name}": whole[name] for name in said}
    # Then it is refused, though its body and its address would say enough
    with pytest.raises(Unacceptable, match="it is a CloudEvent") as refused:
        accepted(Received(b'{"library": "l", "eventId": "7"}', headers, "a", "1", "Shelved"))
    assert refused.value.reason == "bridge: unreadable"


@pytest.mark.parametrize("separator", ["_", ":"])
def test_the_id_and_type_that_amqp_has_make_no_cloud_event(separator: str) -> None:
    headers = {f"cloudevents{separator}id": "7", f"cloudevents{separator}type": "Shelved"}
    found = accepted(Received(b'{"library": "l"}', headers, "a"))
    assert (found["type"], found["meta"]["sender_event_id"]) == ("Shelved", "7")


def test_a_structured_cloud_event_without_a_version_is_none() -> None:
    body = {"id": "7", "source": "/them", "type": "Shelved", "data": {"library": "l"}}
    with pytest.raises(Unacceptable, match="says no specversion"):
        accepted(Received(json.dumps(body).encode(), {"content-type": f"{STRUCTURED}; charset=utf-8"}, "a", "1"))


@pytest.mark.parametrize(
    "members", [{"data_base64": "e30=", "data": {}}, {"data_base64": "%%"}, {"data_base64": 7}, {"data_base64": "WzFd"},
                {"data_base64": "/w=="}, {"data": [1]}]
)  # fmt: skip
def test_data_that_is_no_object_is_none(members: dict[str, Any]) -> None:
    with pytest.raises(Unacceptable) as refused:
        accepted(Received(json.dumps(WHOLE | members).encode(), {}, "a", "1"))
    assert refused.value.reason == "bridge: unreadable"
