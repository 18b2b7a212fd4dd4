"""`events publish`, from the shell and from files."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from support.operator import Operator
from support.store import Store

APPLICATION = Path(__file__).parent.parent / "support" / "application"


@pytest.fixture
def operator(store: Store) -> Operator:
    return Operator(store.url, EVENTS_HANDLERS="shop", PYTHONPATH=str(APPLICATION))


def line(**data: Any) -> str:
    return json.dumps({"event": "OrderPlaced", "data": data}) + "\n"


def test_one_event_is_published_with_its_fields(store: Store, operator: Operator) -> None:
    (event_id,) = json.loads(operator.sees("publish", "OrderPlaced", '{"order": "o-1", "amount": 3}', "--json"))[
        "published"
    ]
    event = store.ledger.history.event(UUID(event_id))
    assert event is not None
    assert (event.event_type, event.aggregate_id, json.loads(event.data)) == (
        "OrderPlaced", "o-1", {"order": "o-1", "amount": 3},
    )  # fmt: skip


def test_a_file_is_published_as_a_whole(store: Store, operator: Operator, tmp_path: Path) -> None:
    lines = "".join(line(order=f"o-{number}") for number in range(1200))
    (tmp_path / "orders.jsonl").write_text(lines)
    assert operator.sees("publish", "--file", tmp_path / "orders.jsonl").strip() == "published 1,200 events"
    assert operator.sees("publish", "--file", "-", given=lines + "\n").strip() == "published 1,200 events"
    assert store.count() == 2400


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("{", "line 2 of - is not valid JSON"),
        ("[]", 'line 2 of - is not {"event"'),
        ('{"event": "OrderPlced", "data": {}}', "line 2 of -: no event is named 'OrderPlced'"),
        ('{"event": "OrderPlaced", "data": {"order": "o", "amount": "x"}}', "line 2 of -: OrderPlaced: amount: "),
    ],
)
def test_of_a_file_with_a_bad_line_nothing_is_published(store: Store, operator: Operator, bad: str, said: str) -> None:
    complaint = operator.is_refused(1, "publish", "--file", "-", given=line(order="o-1") + bad + "\n")
    assert complaint.startswith(f"events: {said}")
    assert complaint.strip().endswith("nothing is published")
    assert store.count() == 0


def test_what_makes_no_sense_is_refused(operator: Operator) -> None:
    operator.is_refused(2, "publish")
    operator.is_refused(2, "publish", "OrderPlaced", "{}", "--file", "x")
    assert "can't read" in operator.is_refused(1, "publish", "--file", "/nowhere")
    assert "Field required" in operator.is_refused(1, "publish", "OrderPlaced")
