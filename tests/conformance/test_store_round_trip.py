"""What is published comes back equal from every store, whatever its types are; or publish() has refused it."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timezone
from typing import Any
from uuid import UUID

import pytest
from pydantic import ConfigDict, Field, create_model
from sqlalchemy import select

from events import DomainEvent, Metadata, PublishError
from events.ledger.codec import decode, encode
from events.ledger.envelope import Envelope
from support.exactly import exactly
from support.field_models import Line, Plain
from support.field_types import TYPES, Refused
from support.store import HOUR, Store, envelope_columns

HOLDERS: list[tuple[type[DomainEvent], Sequence[Any]]] = [
    (create_model(f"Holds{number}", __base__=DomainEvent, value=(annotation, ...)), values)
    for number, (annotation, values) in enumerate(TYPES)
]
LARGE = 10_000_000


class MeasuredRound(DomainEvent, aggregate_id="what"):
    what: str
    amount: int
    lines: list[Line] = Field(default_factory=list)


def read_back(store: Store, event_ids: Sequence[UUID]) -> dict[UUID, DomainEvent]:
    """Out of the database, as a worker would."""
    with store.ledger.engine.connect() as connection:
        rows = connection.execute(select(*envelope_columns())).all()
    found = {row.id: decode(Envelope(**row._mapping)) for row in rows}
    assert found.keys() == set(event_ids)
    return found


def keep(store: Store, events: Sequence[DomainEvent]) -> dict[UUID, DomainEvent]:
    with store.ledger.events.begin() as connection:
        store.ledger.events.append(connection, [encode(event, max_bytes=LARGE) for event in events])
    return read_back(store, [event.event_id for event in events])


def test_every_type_comes_back_as_it_was(store: Store) -> None:
    # Given an event of each type of field, with each of its values
    assert len(TYPES) > 120
    published = [holder(value=one) for holder, values in HOLDERS for one in values if not isinstance(one, Refused)]
    # When all are published
    found = keep(store, published)
    # Then each is what it was, to the last type
    for event in published:
        assert exactly(found[event.event_id]) == exactly(event), event.event_name


@pytest.mark.parametrize(
    ("holder", "value"),
    [
        pytest.param(holder, one.value, id=f"{number}-{index}")
        for number, (holder, values) in enumerate(HOLDERS)
        for index, one in enumerate(values)
        if isinstance(one, Refused)
    ],
)
def test_what_can_not_come_back_is_refused_with_its_field(holder: type[DomainEvent], value: Any) -> None:
    event = holder(value=value)
    with pytest.raises(PublishError, match=f"event {holder.event_name} .*(value|JSON|NUL)"):
        encode(event, max_bytes=LARGE)


@pytest.mark.parametrize(
    "changed",
    [
        {"amount": "many"}, {"amount": None}, {"amount": 1.5}, {"lines": [Line.model_construct(sku=None)]},
        {"lines": (Line(sku="a"),)}, {"lines": None}, {"what": 7}, {"event_id": "no id"}, {"occurred_at": None},
        {"occurred_at": datetime(2026, 1, 1)}, {"occurred_at": datetime(2026, 1, 1, tzinfo=timezone(HOUR))},
        {"metadata": Metadata(tenant={1, 2})}, {"metadata": Metadata(rate=float("nan"))}, {"unknown": 1},
    ],
)  # fmt: skip
def test_an_event_that_nobody_validated_is_no_exception(changed: dict[str, Any]) -> None:
    # Given an event whose copy has a value that its class would refuse
    event = MeasuredRound(what="length", amount=1, lines=[Line(sku="a")]).model_copy(update=changed)
    # When it is published, then it is refused, and says by which field
    with pytest.raises(PublishError, match="|".join([*changed, "extra"])):
        encode(event, max_bytes=LARGE)


def test_a_list_that_was_changed_behind_the_back_of_its_event_is_no_exception() -> None:
    event = MeasuredRound(what="length", amount=1, lines=[])
    event.lines.append("no line")  # type: ignore[arg-type]
    with pytest.raises(PublishError, match=r"lines\.0"):
        encode(event, max_bytes=LARGE)
    with pytest.raises(PublishError, match="amount"):
        encode(MeasuredRound.model_construct(what="length"), max_bytes=LARGE)


def test_metadata_of_any_kind_come_back_too(store: Store) -> None:
    # Given metadata of the application's own, with what is nothing among it
    kept = Metadata(correlation_id="c", tenant=None, rate=1e23, deep={"a": [1.0, None, True]})
    event = MeasuredRound(what="length", amount=1, metadata=kept, occurred_at=datetime(33, 4, 3, tzinfo=UTC))
    # When the event is published, then it has them still, and its time
    assert exactly(keep(store, [event])[event.event_id]) == exactly(event)


def test_a_type_that_pydantic_does_not_know_is_refused() -> None:
    class Odd(DomainEvent):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        thing: Plain

    with pytest.raises(PublishError, match=r"event Odd .* can't be written as JSON"):
        encode(Odd(thing=Plain()), max_bytes=LARGE)


def test_a_masked_value_is_in_no_error() -> None:
    class Secretive(DomainEvent, masked=("iban", "card.number")):
        iban: Any
        card: Any = None

    for values in ({"iban": {"DE12"}}, {"iban": "", "card": {"number": ("4711",)}}):
        with pytest.raises(PublishError) as refused:
            encode(Secretive(**values), max_bytes=LARGE)
        assert not re.search("DE12|4711", str(refused.value))


def test_masked_fields_leave_no_trace_in_what_handlers_get(store: Store) -> None:
    class PaidRound(DomainEvent, masked=("iban",)):
        iban: str

    event = PaidRound(iban="DE12", metadata=Metadata(tenant="t"))
    assert exactly(keep(store, [event])[event.event_id]) == exactly(event)
