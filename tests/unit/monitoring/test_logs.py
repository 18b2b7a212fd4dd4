"""A record as JSON: whatever is in it, one line comes of it."""

import json
import logging
import sys
from typing import Any
from uuid import uuid4

import pytest

from events.hooks import Hooks
from events.ledger.records import Claim
from events.monitoring.logs import DeliveryLogs, JsonFormatter
from support.store import envelope

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


def line(message: object = "said", *arguments: object, **fields: Any) -> dict[str, Any]:
    record = logging.makeLogRecord({"name": "app", "levelname": "INFO", "msg": message, "args": arguments} | fields)
    text = JsonFormatter().format(record)
    assert "\n" not in text

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return found


def test_the_time_is_utc_to_the_millisecond() -> None:
    assert line(created=1_000_000_000.0625)["time"] == "2001-09-09T01:46:40.062Z"


def test_what_the_caller_adds_is_there_and_replaces_nothing_of_ours() -> None:
    cyclic: list[object] = []
    cyclic.append(cyclic)
    found = line(shop={"id": 7, "open": [True, None]}, time="mine", nan=float("nan"), odd=Unprintable(), cyclic=cyclic,
                 key=uuid4(), url="redis://:secret@h", nested={"urls": ["amqp://u:secret@h"]})  # fmt: skip
    assert found["shop"] == {"id": 7, "open": [True, None]}
    assert found["time"] != "mine"
    assert "can't be printed" in found["odd"]
    assert found["url"] == "redis://:***@h"
    assert found["nested"] == {"urls": ["amqp://u:***@h"]}


@pytest.mark.parametrize(
    ("message", "arguments"), [("%d", ("x",)), (Unprintable(), ()), ("%s", (Unprintable(),)), ("\ud800 \x00", ())]
)
def test_a_message_that_can_not_be_formatted_is_a_line_all_the_same(message: object, arguments: Any) -> None:
    assert line(message, *arguments)["level"] == "INFO"


def test_a_record_made_by_hand_may_be_wrong_in_every_way() -> None:
    assert line(created="yesterday", exc_info=(1, 2, 3), stack_info=7)["message"] == "said"


def test_an_exception_is_one_field_without_passwords() -> None:
    try:
        raise ValueError("two\nlines of postgresql://u:secret@h/d")
    except ValueError:
        found = line(exc_info=sys.exc_info())
    assert found["exception"].startswith("Traceback")
    assert found["exception"].endswith("ValueError: two\nlines of postgresql://u:***@h/d")


def claim_of(metadata: str) -> Claim:
    row = envelope(uuid4())
    object.__setattr__(row, "metadata", metadata)
    return Claim(row, "hear", 5, 2, "w1")


def test_in_a_handlers_run_it_names_the_delivery_and_afterwards_no_more() -> None:
    hooks = Hooks()
    hooks.add(DeliveryLogs())
    claim = claim_of(f'{{"correlation_id": "request 7", "traceparent": "00-{TRACE}-b7ad6b7169203331-01"}}')
    around = hooks.around([claim])
    assert around is not None
    with around:
        found = line()
    assert found.items() >= {
        "event_id": str(claim.envelope.id), "event_type": "Said", "handler": "hear", "attempt": 2,
        "correlation_id": "request 7", "trace_id": TRACE,
    }.items()  # fmt: skip
    assert "event_id" not in line()


def test_of_a_batch_it_says_how_many() -> None:
    hooks = Hooks()
    hooks.add(DeliveryLogs())
    around = hooks.around([claim_of("{}"), claim_of("nonsense")])
    assert around is not None
    with around:
        assert line().items() >= {"handler": "hear", "events": 2, "event_type": "Said"}.items()


def test_an_event_of_a_foreign_program_has_itself_for_a_correlation() -> None:
    hooks = Hooks()
    hooks.add(DeliveryLogs())
    claim = claim_of("nonsense")
    around = hooks.around([claim])
    assert around is not None
    with around:
        assert line()["correlation_id"] == str(claim.envelope.id)
