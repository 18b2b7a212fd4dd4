"""Ids, numbers and times of what comes in by a bridge, however others write them."""

import json
from typing import Any
from uuid import RFC_4122, UUID, uuid4

import pytest

from events import uuid7
from events.bridges.contract import Received
from events.errors import Unacceptable
from events.ledger.identity import former_id, received_id
from support.cloud_events import WHEN, WHOLE, accepted


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
