"""Events as others read them: flat JSON, and CloudEvents as their own SDK understands them."""

import base64
import json
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from events import uuid7
from events.bridges.arrival import OwnEvent
from events.bridges.cloudevents import incoming, outgoing
from events.bridges.contract import Received
from events.bridges.forms import STRUCTURED
from events.bridges.forwarding import forwarded
from events.event import Metadata
from events.integration import is_public
from events.ledger.codec import decode
from events.ledger.identity import received_id
from support.cloud_events import (
    BINARY,
    TRACE,
    WHEN,
    WHOLE,
    AllOwn,
    Billed,
    GrownUp,
    PublicBill,
    Sealed,
    Shelved,
    Timed,
    Versioned,
    accepted,
    arrived,
    shelved,
)


def test_the_flat_body_is_the_fields_and_who_when_what() -> None:
    event = shelved()
    assert json.loads(outgoing(event, "/lib").body) == {
        "library": 'Ü "1"', "titles": ["Dune"],
        "eventId": str(event.event_id), "eventType": "Shelved", "aggregateId": 'Ü "1"',
        "dateTimeOccurred": "2026-11-28T09:30:01.250000Z", "timestamp": "2026-11-28T09:30:01.250000Z",
    }  # fmt: skip


@pytest.mark.parametrize("form", ["flat", "structured"])
def test_the_official_sdk_reads_it(form: str) -> None:
    # Given the message of an event
    event = shelved()
    message = outgoing(event, "/lib", form=form)
    # When the SDK reads it as it reads HTTP, whose headers are those of NATS
    read = from_http(HTTPMessage(message.headers(quoted=True), message.body), JSONFormat(), CloudEvent)
    # Then it is a valid CloudEvent, and says the same
    assert (read.get_id(), read.get_source(), read.get_type()) == (str(event.event_id), "/lib", "Shelved")
    assert (read.get_subject(), read.get_time()) == ('Ü "1"', WHEN)
    assert (read.get_extension("schemaversion"), read.get_extension("correlationid")) == ("1", "request-7")
    data = read.get_data()
    assert (data if isinstance(data, dict) else json.loads(data))["titles"] == ["Dune"]
    # And what the SDK writes is read here, to the same event
    written = JSONFormat().write(read)
    found = accepted(Received(written, {"content-type": STRUCTURED}, "events:X"))
    assert found["id"] == received_id("/lib", str(event.event_id))
    assert found["data"] == {"library": 'Ü "1"', "titles": ["Dune"]}
    assert (found["aggregate"], found["time"]) == ('Ü "1"', WHEN)


@pytest.mark.parametrize("form", ["flat", "structured", "webhook"])
@pytest.mark.parametrize("prefix", ["ce-", "ce_", "cloudEvents_", "cloudEvents:"])
def test_what_goes_out_comes_in_as_it_was(form: str, prefix: str) -> None:
    event = shelved()
    message = outgoing(event, "/lib", form=form)
    headers = {name.lower(): value for name, value in message.headers(prefix).items()}
    assert accepted(arrived(message, headers=headers)) == {
        "id": received_id("/lib", str(event.event_id)), "data": {"library": 'Ü "1"', "titles": ["Dune"]},
        "aggregate": 'Ü "1"', "time": WHEN,
        "type": "Shelved",
        "meta": {"correlation_id": "request-7", "causation_id": "c-1", "traceparent": TRACE, "bridge": "redis",
                 "source": "/lib", "sender_event_id": str(event.event_id)},
    }  # fmt: skip


def test_without_headers_the_flat_body_says_enough() -> None:
    event = shelved()
    found = accepted(arrived(outgoing(event, "/lib"), headers={}))
    assert (found["id"], found["type"], found["aggregate"], found["time"]) == (
        received_id("redis:events:X", str(event.event_id)), "Shelved", 'Ü "1"', WHEN,
    )  # fmt: skip


@pytest.mark.parametrize("form", ["flat", "structured"])
def test_a_body_or_data_that_is_a_string_of_json_is_the_object_in_it(form: str) -> None:
    # Given an event that was JSON already when its sender made JSON of it: all of it, or its data alone
    sent = json.loads(outgoing(shelved(), "/lib", form=form).body)
    whole = json.dumps(json.dumps(sent))
    bodies = [whole, json.dumps(sent | {"data": json.dumps(sent["data"])})] if form == "structured" else [whole]
    # When it comes in, then it is that event
    for body in bodies:
        found = accepted(Received(body.encode(), {}, "events:X", "1-0"))
        assert (found["type"], found["time"]) == ("Shelved", WHEN)
        assert found["data"] == {"library": 'Ü "1"', "titles": ["Dune"]}


def test_an_own_field_of_such_a_name_stays_what_it_is() -> None:
    event = Timed(timestamp=7)
    message = outgoing(event, "/lib")
    assert json.loads(message.body)["timestamp"] == 7
    assert accepted(arrived(message))["data"] == {"timestamp": 7}


def test_own_fields_of_all_such_names_leave_nothing_to_add() -> None:
    event = AllOwn(eventId="1", eventType="2", aggregateId="3", dateTimeOccurred="4", timestamp="5")
    assert json.loads(outgoing(event, "/lib").body)["dateTimeOccurred"] == "4"


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("with_headers", [False, True])
@pytest.mark.parametrize("kind", [Sealed, Versioned])
def test_an_own_field_is_never_taken_for_what_is_said_of_the_event(
    kind: type[Sealed | Versioned], with_headers: bool, sealed: bool
) -> None:
    # Given an event with fields that have the names of what a body may say beside it
    event = kind()
    message = outgoing(event, "/lib", sealed=sealed)
    # When it comes in, by a protocol that has headers or none, where we are called as one of its fields says
    headers = None if with_headers else {}
    received = Received(message.body, message.headers() if headers is None else headers, "events:X", "1", kind.__name__)
    found = incoming(received, "redis", lambda _: None, 10_000, "web")
    # Then its fields are what they were, and nothing else is
    assert decode(found).model_dump(exclude={"event_id", "occurred_at", "metadata"}) == event.model_dump(
        exclude={"event_id", "occurred_at", "metadata"}
    )
    assert (found.source, found.schema_version) == ("/lib" if with_headers else "redis:events:X", 1)
    told = json.loads(found.metadata)
    assert told["correlation_id"] == str(found.id)
    assert "causation_id" not in told
    assert not found.forwarded
    # But one of our own source is our own all the same
    if with_headers:
        with pytest.raises(OwnEvent):
            incoming(received, "redis", lambda _: None, 10_000, "/lib")


def test_a_body_without_an_event_of_that_name_says_its_source() -> None:
    body = b'{"eventId": "1", "eventType": "TheirOwn", "eventSource": "/us", "a": 1}'
    with pytest.raises(OwnEvent):
        incoming(Received(body, {}, "a", "1"), "redis", lambda _: None, 10_000, "/us")


def test_masked_fields_stay_at_home_unless_the_event_is_public() -> None:
    # Given an event that some setting forwards, and one that is declared public
    bill = Billed(iban="DE1", card={"number": "4", "type": "v"}, amount=3)
    sent = json.loads(outgoing(bill, "/", masked=is_public(Billed)).body)
    # Then what is masked is left out of the one, rather than sent as `***` that looks like a value
    assert ("iban" in sent, sent["card"], sent["amount"]) == (False, {"type": "v"}, 3)
    assert json.loads(outgoing(PublicBill(iban="DE1"), "/", masked=is_public(PublicBill)).body)["iban"] == "DE1"


def test_which_events_are_forwarded() -> None:
    assert [forwarded(one, ()) for one in (Shelved, PublicBill)] == [False, True]
    assert [forwarded(one, ("*",)) for one in (Shelved, PublicBill)] == [True, True]
    assert [forwarded(one, ("Shelved",)) for one in (Shelved, PublicBill)] == [True, False]


@pytest.mark.parametrize("form", ["flat", "structured", "webhook"])
def test_what_came_from_elsewhere_keeps_its_source_and_its_id(form: str) -> None:
    # Given an event that came from another service, which calls it by a name of its own
    row = incoming(Received(b'{"library": "l"}', BINARY, "a"),
                   "nats", lambda _: None, 10_000)  # fmt: skip
    event = decode(row)
    # When it is sent on, then it is the same event for those who have it from there as well, and says who sent it on
    for _ in range(2):
        sent = accepted(arrived(outgoing(event, "/us", form=form)))
        assert (sent["id"], sent["meta"]["source"], sent["meta"]["sender_event_id"]) == (row.id, "/them", "17")
    again = incoming(arrived(outgoing(event, "/us", form=form)), "redis", lambda _: None, 10_000)
    assert (again.forwarded, row.forwarded) == (True, False)
    # And a copy of it under an id of its own is an event of ours, whatever its metadata says
    copy = event.model_copy(update={"event_id": uuid7()})
    sent = accepted(arrived(outgoing(copy, "/us", form=form)))
    assert (sent["meta"]["source"], sent["meta"]["sender_event_id"]) == ("/us", str(copy.event_id))


def test_an_event_that_only_others_know_is_kept_as_it_is() -> None:
    received = Received(
        b'{"a": 1, "eventId": "1", "eventType": "TheirOwn", "aggregateId": "x"}', {}, "events:TheirOwn", "1-0"
    )
    found = accepted(received)
    assert (found["data"], found["aggregate"]) == ({"a": 1}, "x")


@pytest.mark.parametrize("data", [{"library": "l", "titles": ["ü"]}, {"library": "l"}])
def test_data_in_base64_is_read(data: dict[str, Any]) -> None:
    encoded = base64.b64encode(json.dumps(data).encode()).decode()
    body = json.dumps(WHOLE | {"data_base64": encoded}).encode()
    assert accepted(Received(body, {}, "a", "1"))["data"] == data


def test_standard_webhooks_have_a_form_of_their_own() -> None:
    # Given a message as standardwebhooks.com describes it
    body = {"type": "Shelved", "timestamp": "2026-11-28T09:30:01.25Z", "data": {"library": "l"}}
    found = accepted(Received(json.dumps(body).encode(), {"webhook-id": "msg_1"}, "a", "1"))
    assert (found["type"], found["data"], found["time"]) == ("Shelved", {"library": "l"}, WHEN)
    assert (found["id"], found["meta"]["sender_event_id"]) == (received_id("redis:a", "msg_1"), "msg_1")
    # And ours is one, with what else a CloudEvent says beside its data
    sent = json.loads(outgoing(shelved(), "/lib", form="webhook").body)
    assert (sent["type"], sent["timestamp"]) == ("Shelved", "2026-11-28T09:30:01.250000Z")
    assert sent["data"] == {"library": 'Ü "1"', "titles": ["Dune"]}
    assert (sent["source"], sent["subject"], sent["schemaversion"]) == ("/lib", 'Ü "1"', "1")
    # But an event that has such fields is itself
    found = accepted(Received(json.dumps(body).encode(), BINARY | {"ce-type": "TheirOwn"}, "a", "1"))
    assert (found["type"], found["data"]) == ("TheirOwn", body)


def test_a_sealed_body_says_all_that_stands_beside_it() -> None:
    event = GrownUp(card="c", occurred_at=WHEN, metadata=Metadata(correlation_id="request-7", causation_id="c-1"))
    message = outgoing(event, "/lib", sealed=True)
    found = incoming(Received(message.body, {}, "a", "1"), "http", lambda _: None, 10_000)
    told = json.loads(found.metadata)
    assert (found.schema_version, found.source, found.sent_as) == (3, "/lib", str(event.event_id))
    assert (told["correlation_id"], told["causation_id"]) == ("request-7", "c-1")
    assert decode(found).card == "c"  # type: ignore[attr-defined]
    assert json.loads(found.event_data) == {"cardNo": "c"}
