"""Events to rows and back: what goes in comes out equal, and what can't is refused with a reason."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, AliasChoices, AliasGenerator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from events import DomainEvent, EventDataError, Metadata, PayloadTooLarge, PublishError
from events.ledger.codec import decode, encode
from events.ledger.envelope import Envelope


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Part(BaseModel):
    name: str
    weight: Decimal


class Assembled(DomainEvent, aggregate_id="machine"):
    machine: UUID
    title: str
    count: int
    ratio: float
    done: bool
    day: date
    at: datetime
    raw: bytes
    colour: Colour
    note: str | None
    parts: list[Part]
    labels: dict[str, int]
    pair: tuple[int, str]
    kinds: frozenset[int]


class Named(DomainEvent):
    label: str = Field(alias="Label")


# PostgreSQL's text has no NUL, and no encoding has lone surrogates: both are refused, see below.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
times = st.datetimes(timezones=st.just(UTC))
assembled = st.builds(
    Assembled,
    machine=st.uuids(),
    title=texts,
    count=st.integers(),
    ratio=st.floats(allow_nan=False),
    done=st.booleans(),
    day=st.dates(),
    at=times,
    raw=st.binary(),
    colour=st.sampled_from(Colour),
    note=st.none() | texts,
    parts=st.lists(st.builds(Part, name=texts, weight=st.decimals(allow_nan=False, allow_infinity=False)), max_size=3),
    labels=st.dictionaries(texts, st.integers(), max_size=3),
    pair=st.tuples(st.integers(), texts),
    kinds=st.frozensets(st.integers(), max_size=3),
    occurred_at=times,
    metadata=st.builds(Metadata, correlation_id=st.none() | texts, causation_id=st.none() | texts)
    | st.builds(Metadata, correlation_id=st.none() | texts, tenant=texts, floor=st.integers(-9, 9)),
)


def row(data: str, event_type: str = "Assembled", **columns: object) -> Envelope:
    values = {
        "id": uuid4(), "aggregate_id": "", "event_type": event_type, "event_data": data, "version": 1,
        "timestamp": datetime.now(UTC), "schema_version": 1, "metadata": "{}",
    } | columns  # fmt: skip
    return Envelope(**values)  # type: ignore[arg-type]


@settings(suppress_health_check=[HealthCheck.too_slow])  # tests run side by side
@given(assembled)
def test_what_goes_in_comes_out_equal(event: Assembled) -> None:
    envelope = encode(event, max_bytes=10_000_000)
    assert decode(envelope) == event
    assert envelope.aggregate_id == str(event.machine)


@given(st.text() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(repr))
def test_garbage_is_a_clear_error_and_nothing_else(data: str) -> None:
    with pytest.raises(EventDataError, match="event Assembled"):
        decode(row(data))


@pytest.mark.parametrize("text", ["nul \x00", "deep \ud800 surrogate"])
def test_text_that_no_store_takes_is_refused(text: str) -> None:
    with pytest.raises((PublishError, ValueError), match=r"NUL|JSON|surrogate|unicode"):
        encode(Named(Label=text), max_bytes=1000)


def test_a_backslash_before_u0000_is_no_nul() -> None:
    event = Named(Label="\\u0000")
    assert decode(encode(event, max_bytes=1000)) == event


def test_a_nan_survives() -> None:
    class Measured(DomainEvent):
        value: float

    again = decode(encode(Measured(value=float("nan")), max_bytes=1000))
    assert isinstance(again, Measured)
    assert again.value != again.value


@pytest.mark.parametrize("times", [1, 2])
def test_data_that_is_a_string_of_json_is_the_object_in_it(times: int) -> None:
    # Given an event that was JSON already when an ORM made JSON of it
    data = r' {"Label": "a \"b\" \u00fc", "more": ["{"]} '
    for _ in range(times):
        data = json.dumps(data)
    # Then it is read as it was meant
    event = decode(row(data, "Named"))
    assert isinstance(event, Named)
    assert event.label == 'a "b" ü'


@pytest.mark.parametrize(
    "data",
    ['"text"', '"{"', '"[1]"', r'"\"5\""', '"', '""', json.dumps('{"Label": 7}'), json.dumps(r'{"Label": "\ud800"}')],
)
def test_a_string_of_anything_else_is_a_clear_error(data: str) -> None:
    with pytest.raises(EventDataError, match="event Named"):
        decode(row(data, "Named"))


def test_unknown_fields_of_stored_data_are_ignored_and_the_rows_own_columns_win() -> None:
    envelope = row('{"Label": "x", "future": {"a": 1}, "event_id": "not this", "metadata": 7}', "Named")
    event = decode(envelope)
    assert (event.event_id, event.metadata) == (envelope.id, Metadata())


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("{}", r"event Named .*field 'Label': Field required"),
        ('{"label": 7}', r"event Named .*'label'.*got 7"),
        ('{"label": "' + "x" * 5, r"event Named .*not a JSON object"),
    ],
)
def test_a_wrong_or_missing_field_is_named_with_its_value(data: str, told: str) -> None:
    with pytest.raises(EventDataError, match=told):
        decode(row(data, "Named"))


def test_a_row_without_a_class_or_a_time_is_named() -> None:
    with pytest.raises(EventDataError, match="Unheard"):
        decode(row("{}", "Unheard"))
    with pytest.raises(EventDataError, match="timestamp"):
        decode(row('{"label": "x"}', "Named", timestamp=None))


def test_the_limit_is_named() -> None:
    with pytest.raises(PayloadTooLarge, match=r"Named .* limit of 50 bytes \(EVENTS_MAX_PAYLOAD_BYTES\)"):
        encode(Named(Label="x" * 60), max_bytes=50)


@pytest.mark.parametrize(
    "told",
    [
        {"correlation_id": None, "tenant": 7},
        {"correlation_id": "c", "tenant": 7},
        {"correlation_id": "c"},
        {"correlation_id": 'c"', "n": 1},
        {"tenant": 7},
        {"causation_id": None},
        {},
    ],
)
@pytest.mark.parametrize("compact", [True, False])
def test_metadata_of_any_form_is_kept(told: dict[str, object], compact: bool) -> None:
    written = json.dumps(told, separators=(",", ":") if compact else None)
    row = replace(encode(Named(Label="x"), max_bytes=1_000), metadata=written)
    assert decode(row).metadata == Metadata.model_validate(told)


class Mood(StrEnum):
    GOOD = "good"


class Rank(IntEnum):
    FIRST = 1


class Vague(DomainEvent):
    text: str = ""
    number: int = 0
    anything: Any = None


@pytest.mark.parametrize("value", [Mood.GOOD, Rank.FIRST, [Rank.FIRST], {"a": Mood.GOOD}])
def test_the_member_of_an_enum_is_refused_where_nothing_says_what_it_is(value: Any) -> None:
    with pytest.raises(PublishError, match="anything"):
        encode(Vague(anything=value), max_bytes=1000)


class Camels(DomainEvent):
    model_config = ConfigDict(alias_generator=to_camel)
    seat_number: int = 1


class Many(DomainEvent):
    model_config = ConfigDict(
        alias_generator=AliasGenerator(validation_alias=lambda name: AliasChoices(f"the_{name}", to_camel(name)))
    )
    seat_number: int = 1


@pytest.mark.parametrize("kind", [Camels, Many])
def test_what_a_row_says_of_itself_in_its_data_is_not_believed(kind: type[Camels | Many]) -> None:
    # Given a row whose data has, under the names that aliases give them, what its columns say otherwise
    row = encode(kind(), max_bytes=1000)
    odd = '{"eventId": "00000000-0000-0000-0000-0000000000ff", "occurredAt": "2000-01-01T00:00:00Z", "seatNumber": 2}'
    event = decode(replace(row, event_data=odd))
    assert isinstance(event, kind)
    assert (event.event_id, event.occurred_at, event.seat_number) == (row.id, row.timestamp, 2)


class Level(IntEnum):
    LOW, HIGH = 1, 2


class Raised(DomainEvent):
    level: Annotated[Level, AfterValidator(lambda level: max(level, Level.HIGH))] = Level.HIGH


def test_a_member_that_a_validator_makes_another_of_is_refused() -> None:
    with pytest.raises(PublishError, match="level"):
        encode(Raised().model_copy(update={"level": Level.LOW}), max_bytes=1000)


def test_in_a_field_of_its_kind_it_becomes_its_value_and_hides_nothing_else() -> None:
    # Given an event that got members past pydantic
    event = Vague().model_copy(update={"text": Mood.GOOD, "number": Rank.FIRST})
    # Then it comes back with what pydantic would have made of them
    again = decode(encode(event, max_bytes=1000))
    assert isinstance(again, Vague)
    assert (type(again.text), type(again.number)) == (str, int)
    assert (again.text, again.number) == ("good", 1)
    # And what else is wrong with it is refused all the same
    for wrong in ({"number": "1"}, {"anything": Rank.FIRST}, {"anything": (1,)}):
        with pytest.raises(PublishError):
            encode(event.model_copy(update=wrong), max_bytes=1000)
