"""With a secret only what is signed counts: whoever has captured a request can make no other event of it."""

import json
import time
from email.message import Message
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import DomainEvent
from events.bridges.arrival import Arrival
from events.bridges.cloudevents import incoming, outgoing
from events.bridges.contract import quoted_value
from events.bridges.http.bridge import signature
from events.bridges.http.reading import Refused, check, messages
from events.errors import Unacceptable

KEY = b"1234567890123456"
FORMS = ["flat", "structured", "webhook", "batch"]


class PaymentMade(DomainEvent, aggregate_id="order", version=2):
    order: str
    type: str = "PaymentUndone"  # as an event has them that describes another
    source: str = "/elsewhere"
    id: str = "other"


class PaymentUndone(DomainEvent):
    order: str = ""


MADE = PaymentMade(order="o-1")


def request(form: str) -> tuple[dict[str, str], bytes]:
    """As our own publisher makes it."""
    message = outgoing(MADE, "/shop", form="structured" if form == "batch" else form, sealed=True)
    body = b"[" + message.body + b"]" if form == "batch" else message.body
    return message.headers(quoted=True), body


def arrivals(headers: dict[str, str], body: bytes, signed: bytes | None = None) -> list[Arrival]:
    """What becomes of a request, signed as `signed` if that is another body. Raises Refused."""
    stamp = str(int(time.time()))
    right = signature(KEY, str(MADE.event_id), stamp, signed or body)
    found = Message()
    said = {"webhook-id": str(MADE.event_id), "webhook-timestamp": stamp, "webhook-signature": right}
    for name, value in (said | headers).items():
        found[name] = value
    check(found, body, "", KEY)
    return [incoming(one, "http", lambda _: None, 10_000) for one in messages(found, body, "/e", 10_000, signed=True)]


def content(arrival: Arrival) -> tuple[Any, ...]:
    return (arrival.id, arrival.event_type, arrival.aggregate_id, arrival.schema_version, arrival.timestamp,
            arrival.source, json.loads(arrival.event_data), arrival.metadata)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_what_is_signed_arrives_as_it_was_sent(form: str) -> None:
    (arrival,) = arrivals(*request(form))
    assert (arrival.sent_as, arrival.source, arrival.event_type, arrival.aggregate_id, arrival.schema_version) == (
        str(MADE.event_id), "/shop", "PaymentMade", "o-1", 2,
    )  # fmt: skip
    assert arrival.timestamp == MADE.occurred_at
    assert json.loads(arrival.event_data)["order"] == "o-1"


ATTRIBUTES = ["id", "type", "source", "subject", "time", "schemaversion", "specversion", "correlationid", "causationid",
              "forwardedby", "datacontenttype"]  # fmt: skip
VALUES = st.sampled_from(
    ["PaymentUndone", "/elsewhere", "2", "3", "1.0", "0.3", "2020-01-01T00:00:00Z", "other", str(UUID(int=1)), ""]
) | st.text(max_size=20)
HEADERS = st.dictionaries(st.sampled_from([f"ce-{name}" for name in ATTRIBUTES]), VALUES.map(quoted_value))
TYPES = st.sampled_from(
    ["application/json", "application/cloudevents+json", "application/cloudevents-batch+json", "text/plain", ""]
)


@given(st.sampled_from(FORMS), HEADERS, TYPES)
def test_no_header_makes_another_event_of_it(form: str, headers: dict[str, str], content_type: str) -> None:
    own, body = request(form)
    (sent,) = arrivals(own, body)
    changed = own | headers | {"content-type": content_type}
    if headers.get("ce-id", sent.sent_as) != sent.sent_as and form != "batch":
        with pytest.raises(Refused, match="ce-id"):
            arrivals(changed, body)
        return
    found = arrivals(changed, body)
    assert [content(one) for one in found] == [content(sent)]


@pytest.mark.parametrize("form", FORMS)
def test_no_other_body_is_taken(form: str) -> None:
    headers, body = request(form)
    with pytest.raises(Refused) as refused:
        arrivals(headers, body.replace(b"o-1", b"o-2"), signed=body)
    assert refused.value.status == 401


@pytest.mark.parametrize("form", ["flat", "structured"])
def test_the_id_beside_it_is_the_one_that_is_signed(form: str) -> None:
    headers, body = request(form)
    with pytest.raises(Refused, match="ce-id is another than webhook-id"):
        arrivals(headers | {"ce-id": "another"}, body)


@pytest.mark.parametrize("message_id", ["msg", "msg.1700000000", "a.b"])
def test_no_part_of_what_is_signed_is_taken_for_another(message_id: str) -> None:
    # Given a signed request, whose id, time and body stand one behind the other between points
    now, body = str(int(time.time())), b'{"eventType": "PaymentUndone", "order": "o-1"}'
    right = signature(KEY, message_id, now, body)
    whole = f"{message_id}.{now}.".encode() + body
    # When the points are taken for others, then it is no request
    parts = whole.split(b".")
    for first in range(1, len(parts)):
        for second in range(first + 1, len(parts)):
            found = Message()
            found["webhook-id"] = b".".join(parts[:first]).decode()
            found["webhook-timestamp"] = b".".join(parts[first:second]).decode()
            found["webhook-signature"] = right
            other = b".".join(parts[second:])
            if other == body and found["webhook-timestamp"] == now:
                check(found, body, "", KEY)
                continue
            with pytest.raises(Refused):
                check(found, other, "", KEY)
                messages(found, other, "/e", 10_000, signed=True)


def test_who_says_the_type_only_beside_the_body_is_told_what_to_do() -> None:
    headers = {"ce-specversion": "1.0", "ce-id": str(MADE.event_id), "ce-type": "PaymentMade", "ce-source": "/shop"}
    with pytest.raises(Refused, match=r"which event it is.*only what is signed counts") as refused:
        arrivals(headers, b'{"order": "o-1"}')
    assert refused.value.status == 400


def test_a_body_without_an_id_has_that_of_its_message() -> None:
    body = json.dumps({"type": "PaymentUndone", "timestamp": "2026-11-28T09:30:01Z", "data": {"order": "o"}}).encode()
    (arrival,) = arrivals({}, body)
    assert (arrival.sent_as, arrival.event_type) == (str(MADE.event_id), "PaymentUndone")


@pytest.mark.parametrize("message_id", [None, ""])
@pytest.mark.parametrize("body", [b'{"type": "PaymentUndone", "timestamp": "2026-11-28T09:30:01Z", "data": {}}',
                                  b'{"eventType": "PaymentUndone", "order": "o-1"}', b"[]"])  # fmt: skip
def test_what_is_signed_has_an_id_else_it_would_be_another_event_each_time(message_id: str | None, body: bytes) -> None:
    # Given a request that is signed as if its id were an empty one, as which one counts that isn't there
    stamp = str(int(time.time()))
    found = Message()
    for name, value in [("id", message_id), ("timestamp", stamp), ("signature", signature(KEY, "", stamp, body))]:
        if value is not None:
            found[f"webhook-{name}"] = value
    # Then it is refused, however often it comes
    for _ in range(2):
        with pytest.raises(Refused, match="webhook-id is missing") as refused:
            check(found, body, "", KEY)
        assert refused.value.status == 401


def test_what_is_signed_and_makes_no_sense_is_refused() -> None:
    for body in (b"", b"[", b"[7]", b"7", b"{}", b'{"specversion": "1.0", "data": {}}'):
        with pytest.raises((Refused, Unacceptable)):
            arrivals({}, body)
