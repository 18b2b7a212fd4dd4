"""Events as others read them: flat JSON, and CloudEvents as their own SDK understands them."""

import base64
import json
from datetime import UTC, datetime
from typing import Any
from uuid import RFC_4122, UUID, uuid4

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from pydantic import ConfigDict, Field

from events import DomainEvent, uuid7
from events.bridges.arrival import OwnEvent
from events.bridges.cloudevents import incoming, outgoing
from events.bridges.contract import Message, Received
from events.bridges.forms import STRUCTURED, Unacceptable
from events.bridges.forwarding import forwarded
from events.event import Metadata
from events.integration import IntegrationEvent, is_public
from events.ledger.codec import decode
from events.ledger.identity import former_id, received_id

WHEN = datetime(2026, 11, 28, 9, 30, 1, 250_000, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Shelved(DomainEvent, aggregate_id="library"):
    library: str
    titles: tuple[str, ...] = ()


class Timed(DomainEvent):
    timestamp: int


class AllOwn(DomainEvent):
    eventId: str  # noqa: N815
    eventType: str  # noqa: N815
    aggregateId: str  # noqa: N815
    dateTimeOccurred: str  # noqa: N815
    timestamp: str


class Sealed(DomainEvent):
    eventSource: str = "web"  # noqa: N815
    eventSchemaVersion: str = "2024-01"  # noqa: N815
    eventCorrelationId: str = "c"  # noqa: N815
    eventCausationId: str = "c"  # noqa: N815
    eventForwardedBy: str = "web"  # noqa: N815
    specversion: str = "2"
    type: str = "t"
    data: str = "d"


class Versioned(DomainEvent):
    event_type: str = Field("Shelved", alias="eventType")
    eventSource: str = "web"  # noqa: N815
    eventSchemaVersion: int = 7  # noqa: N815

    model_config = ConfigDict(serialize_by_alias=True, populate_by_name=True)


class Billed(DomainEvent, masked=("iban", "card.number")):
    iban: str | None = None
    card: dict[str, str] | None = None
    amount: int


class PublicBill(IntegrationEvent, masked=("iban",)):
    iban: str


class GrownUp(DomainEvent, version=3):
    model_config = ConfigDict(serialize_by_alias=True, populate_by_name=True)

    card: str = Field(alias="cardNo")


BINARY = {"ce-specversion": "1.0", "ce-id": "17", "ce-source": "/them", "ce-type": "Shelved"}


def shelved() -> Shelved:
    metadata = Metadata(correlation_id="request-7", causation_id="c-1", traceparent=TRACE)
    return Shelved(library='Ü "1"', titles=("Dune",), occurred_at=WHEN, metadata=metadata)


def arrived(message: Message, *, headers: dict[str, str] | None = None, position: str = "1-0") -> Received:
    return Received(message.body, message.headers() if headers is None else headers, "events:X", position)


def accepted(received: Received) -> dict[str, Any]:
    envelope = incoming(received, "redis", lambda _: None, 10_000)
    return {"id": envelope.id, "data": json.loads(envelope.event_data), "aggregate": envelope.aggregate_id,
            "time": envelope.timestamp, "type": envelope.event_type, "meta": json.loads(envelope.metadata)}  # fmt: skip


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


def test_ids_of_others_are_the_same_each_time() -> None:
    def id_of(body: dict[str, object], position: str = "1-0") -> object:
        received = Received(json.dumps({"library": "l"} | body).encode(), {}, "events:X", position, "Shelved")
        return accepted(received)["id"]

    known = str(uuid4())
    assert id_of({"eventId": known}, "1-0") == id_of({"eventId": known}, "2-0") != UUID(known)
    assert id_of({"eventId": "17"}, "1-0") == id_of({"eventId": "17"}, "2-0")
    assert id_of({}, "1-0") == id_of({}, "1-0") != id_of({}, "2-0")
    assert id_of({}, "") != id_of({}, "")
    assert isinstance(id_of({}, ""), UUID)
    # And events that come together keep the order of their ids, if that is one in time
    in_time = [uuid7() for _ in range(50)]
    here = [received_id(f"/{number % 2}", str(one)) for number, one in enumerate(in_time)]
    assert here == sorted(here)
    assert {(one.version, one.variant) for one in here} == {(8, RFC_4122)}
    # And no two senders have one in common, whatever they call themselves and their events
    named = [("/a", known), ("/b", known), ("/a b", "c"), ("/a", "b c"), ("/a", "at 1-0"), ("/a at 1-0", ""),
             ("", "17"), ("/a", known.upper()), ('["/a"', "x"), ("/a", '", "x')]  # fmt: skip
    found = [id_of({"eventSource": source, "eventId": sent_as}) for source, sent_as in named]
    assert len({*found}) == len(named)


def test_the_id_here_of_what_others_send_stays_what_it_is() -> None:
    # Else what comes again after an upgrade is another event
    assert str(received_id("/cards", "card-17")) == "e6296b0a-4fc7-5903-a1dc-b229c01d9040"
    assert str(former_id("/cards", "card-17")) == "01f44215-f570-57c7-ac59-4385eb02c72c"


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


def test_an_event_that_only_others_know_is_kept_as_it_is() -> None:
    received = Received(
        b'{"a": 1, "eventId": "1", "eventType": "TheirOwn", "aggregateId": "x"}', {}, "events:TheirOwn", "1-0"
    )
    found = accepted(received)
    assert (found["data"], found["aggregate"]) == ({"a": 1}, "x")


WHOLE = {"specversion": "1.0", "id": "7", "source": "/them", "type": "Shelved"}


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


@pytest.mark.parametrize("data", [{"library": "l", "titles": ["ü"]}, {"library": "l"}])
def test_data_in_base64_is_read(data: dict[str, Any]) -> None:
    encoded = base64.b64encode(json.dumps(data).encode()).decode()
    body = json.dumps(WHOLE | {"data_base64": encoded}).encode()
    assert accepted(Received(body, {}, "a", "1"))["data"] == data


@pytest.mark.parametrize(
    "members", [{"data_base64": "e30=", "data": {}}, {"data_base64": "%%"}, {"data_base64": 7}, {"data_base64": "WzFd"},
                {"data_base64": "/w=="}, {"data": [1]}]
)  # fmt: skip
def test_data_that_is_no_object_is_none(members: dict[str, Any]) -> None:
    with pytest.raises(Unacceptable) as refused:
        accepted(Received(json.dumps(WHOLE | members).encode(), {}, "a", "1"))
    assert refused.value.reason == "bridge: unreadable"


@pytest.mark.parametrize("name", ["dateTimeOccurred", "timestamp"])
@pytest.mark.parametrize("given", [1_795_858_201_250, 1_795_858_201_250.0, "1795858201250"])
def test_numbers_are_taken_as_what_they_are(name: str, given: float | str) -> None:
    # Given a sender that counts its events, its shelves and the milliseconds since 1970
    body = {"eventId": 17, "eventType": "TheirOwn", "aggregateId": 7, name: given}
    found = accepted(Received(json.dumps(body).encode(), {}, "a", "1"))
    # Then these are its id there, by which it is found, its aggregate and its time
    assert found["id"] == received_id("redis:a", "17")
    assert (found["meta"]["sender_event_id"], found["aggregate"], found["time"]) == ("17", "7", WHEN)


@pytest.mark.parametrize("form", ["flat", "structured", "webhook"])
@pytest.mark.parametrize(
    "given",
    [1_795_858_201, 0, -1, 1e300, True, {"at": 1}, [1], "1795858201", 20240101120000, 202401011200, "20240101120000",
     "20240101120000Z", "2024010112000", "202401011200", "2024-01-01120000", "1795858201250.5", "\u0661795858201250"],
)  # fmt: skip
def test_what_is_no_time_is_refused(form: str, given: Any) -> None:
    # Given a time that is none, or might be two, where each form has it
    body = {
        "flat": {"eventId": "17", "eventType": "TheirOwn", "dateTimeOccurred": given},
        "structured": WHOLE | {"type": "TheirOwn", "time": given},
        "webhook": {"type": "TheirOwn", "timestamp": given, "data": {}},
    }
    # Then it is neither taken for another, nor for none
    with pytest.raises(Unacceptable, match="neither ISO 8601 nor milliseconds since 1970") as refused:
        accepted(Received(json.dumps(body[form]).encode(), {}, "a", "1"))
    assert refused.value.reason == "bridge: wrong data"
    assert ("in seconds?" in str(refused.value)) is (given == 1_795_858_201)


@pytest.mark.parametrize("given", [1_795_858_201_250, 1_795_858_201_250.0, "1795858201250", "20261128T093001.25Z"])
@pytest.mark.parametrize("form", ["structured", "webhook"])
def test_a_time_is_read_in_every_form(form: str, given: Any) -> None:
    body = WHOLE | {"time": given} if form == "structured" else {"type": "Shelved", "timestamp": given}
    found = accepted(Received(json.dumps(body | {"data": {"library": "l"}}).encode(), {}, "a", "1"))
    assert found["time"] == WHEN


@pytest.mark.parametrize("given", [True, False, {}, {"$oid": "x"}, [], ["a"], 17.5, 1e300, -1e18])
@pytest.mark.parametrize("name", ["eventId", "aggregateId", "eventSource", "eventSchemaVersion", "id", "subject"])
def test_what_cannot_be_an_id_is_refused_and_not_left_out(name: str, given: Any) -> None:
    # Given a message whose id, or what else makes it what it is, is there, and is nothing that can be one
    body: dict[str, Any] = {"eventId": "17", "eventType": "TheirOwn"}
    if not name.startswith(("event", "aggregate")):
        body = {"type": "TheirOwn", "timestamp": "2026-11-28T09:30:01Z", "data": {}}
    received = Received(json.dumps(body | {name: given}).encode(), {"webhook-id": "msg_1"}, "a", "1")
    # Then it is not taken for one that says none, which would have another id
    what = "its id" if name in ("id", "eventId") else f"its {name}"
    with pytest.raises(Unacceptable, match=f"{what} is no text or whole number") as refused:
        accepted(received)
    assert refused.value.reason == "bridge: wrong data"


@pytest.mark.parametrize("given", [17, 17.0, "17"])
def test_a_whole_number_is_one_however_it_is_written(given: Any) -> None:
    bodies = [{"eventId": given, "eventType": "TheirOwn"}, WHOLE | {"id": given, "data": {"library": "l"}},
              {"type": "TheirOwn", "timestamp": "2026-11-28T09:30:01Z", "data": {}, "id": given}]  # fmt: skip
    for body in bodies:
        assert accepted(Received(json.dumps(body).encode(), {}, "a", "1"))["meta"]["sender_event_id"] == "17"


def test_an_id_that_is_not_said_is_none() -> None:
    for nothing in (None, ""):
        body = {"eventId": nothing, "eventType": "TheirOwn", "dateTimeOccurred": nothing}
        found = accepted(Received(json.dumps(body).encode(), {}, "a", "1"))
        assert "sender_event_id" not in found["meta"]


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
