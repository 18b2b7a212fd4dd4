"""Names of fields and of attributes, aliases, generics: what would be taken for something else is refused at import."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar
from uuid import UUID, uuid4

import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    FutureDate,
    FutureDatetime,
    PrivateAttr,
    computed_field,
    create_model,
)
from typing_extensions import TypedDict

from events import DefinitionError, DomainEvent, IntegrationEvent, PublishError, handles
from events.bridges.cloudevents import outgoing
from events.event import event_named
from events.ledger.codec import decode, encode

Kind = TypeVar("Kind")
OURS = [
    *("event_id", "occurred_at", "metadata", "event_name", "schema_version", "aggregate_field", "defined_at"),
    *("masked_fields", "upcast", "model_dump", "model_fields", "model_copy", "model_validate_json", "_origin"),
]


def comes_back(event: DomainEvent) -> bool:
    return decode(encode(event, max_bytes=10_000)) == event


class Mixed(BaseModel):
    metadata: str


class Bare:
    event_name = "bare"


def with_alias(**alias: Any) -> Callable[[], object]:
    return lambda: create_model("Aliased", __base__=DomainEvent, value=(str, Field(**alias)), other=(str, ""))


def by_attribute(**names: Any) -> Callable[[], object]:
    return lambda: type("Attributed", (DomainEvent,), {"__module__": __name__, **names})


@pytest.mark.parametrize("name", OURS)
def test_a_field_that_is_named_as_what_every_event_has_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match=rf"event Ours \(.*py:\d+\) declares '{name}'.*rename"):
        type("Ours", (DomainEvent,), {"__module__": __name__, "__annotations__": {name: str}})


@pytest.mark.parametrize(
    "declare",
    [
        lambda: type("Before", (Mixed, DomainEvent), {}), lambda: type("After", (DomainEvent, Mixed), {}),
        lambda: type("Attribute", (Bare, DomainEvent), {}), by_attribute(event_name="x"),
        by_attribute(schema_version=2),
        by_attribute(metadata=property(lambda self: 1)), by_attribute(event_name=property(lambda self: "x")),
        by_attribute(aggregate_field="x"), by_attribute(upcast=lambda self, data, version: data),
        lambda: create_model("Created", __base__=DomainEvent, event_name=(str, ...)),
        with_alias(alias="event_id"), with_alias(alias="other"), with_alias(validation_alias="metadata"),
        with_alias(validation_alias=AliasChoices("a", "occurred_at")), with_alias(serialization_alias="event_id"),
        with_alias(validation_alias=AliasPath("metadata", "x")), with_alias(exclude=True),
        by_attribute(model_config=ConfigDict(extra="allow")),
        lambda: type("Public", (IntegrationEvent,), {"__module__": __name__, "__annotations__": {"public": bool}}),
    ],
)  # fmt: skip
def test_mixins_attributes_aliases_and_what_is_never_stored_are_refused(declare: Callable[[], object]) -> None:
    with pytest.raises(DefinitionError, match=r"^event \w+ \(.*\)"):
        declare()


def test_a_computed_field_is_no_exception() -> None:
    with pytest.raises(DefinitionError, match="event_name"):

        class Computed(DomainEvent):
            @computed_field  # type: ignore[prop-decorator]
            @property
            def event_name(self) -> str:  # type: ignore[override]
                return "x"


@pytest.mark.filterwarnings("ignore:Field name")
@pytest.mark.parametrize("name", ["copy", "json", "dict", "schema", "validate", "construct", "fields", "model_id"])
def test_other_names_of_pydantic_are_fields_like_any(name: str) -> None:
    made = create_model(f"Has{name}", __base__=DomainEvent, **{name: (str, ...)})  # type: ignore[call-overload]
    assert comes_back(made(**{name: "x"}))
    with pytest.raises(ValueError, match="Field required"):
        made()


class DoorOpened(DomainEvent, aggregate_id="aggregate_id"):
    aggregate_id: UUID  # type: ignore[assignment]


class DoorShut(DomainEvent):
    aggregate_id: str  # type: ignore[assignment]


class DoorAjar(DomainEvent, aggregate_id="door"):
    door: int | None = None


class DoorBetween(DomainEvent):
    here: int
    there: int

    @property
    def aggregate_id(self) -> str:
        return f"{self.here}-{self.there}"


@pytest.mark.parametrize(
    ("event", "aggregate_id"),
    [(DoorOpened(aggregate_id=(door := uuid4())), str(door)), (DoorShut(aggregate_id="d-1"), "d-1"), (DoorAjar(), ""),
     (DoorAjar(door=7), "7"), (DoorBetween(here=1, there=2), "1-2")],
    ids=["its id", "text", "none", "number", "made of two"],
)  # fmt: skip
def test_a_field_named_aggregate_id_is_the_aggregates_id(event: DomainEvent, aggregate_id: str) -> None:
    assert encode(event, max_bytes=1000).aggregate_id == aggregate_id
    assert outgoing(event, "/here").aggregate_id == aggregate_id
    assert comes_back(event)


class Plan(BaseModel):
    by: FutureDate
    next: "Plan | None" = None


@dataclass
class Term:
    ends: FutureDatetime


class Slot(NamedTuple):
    day: FutureDate


class Dates(TypedDict):
    plans: list[Plan]


@pytest.mark.parametrize(
    "kind",
    [FutureDate, FutureDatetime, FutureDate | None, list[dict[str, FutureDatetime]], Plan, Term, Slot, Dates,
     tuple[Plan, ...] | None],
)  # fmt: skip
def test_what_has_to_be_in_the_future_is_refused(kind: Any) -> None:
    with pytest.raises(DefinitionError, match="'value' has to be in the future"):
        create_model("Planned", __base__=DomainEvent, value=(kind, ...))


@pytest.mark.parametrize("wrap", [lambda method: method, classmethod, staticmethod])
def test_an_aggregate_id_that_would_have_to_be_called_is_refused(wrap: Callable[[Any], Any]) -> None:
    with pytest.raises(DefinitionError, match="aggregate_id is read and not called; write @property"):
        type("Called", (DomainEvent,), {"__module__": __name__, "aggregate_id": wrap(lambda self: "all")})


class DoorOf(DomainEvent, aggregate_id="of"):
    of: Any


class Frame(BaseModel):
    wood: str = "oak"


class DoorOfFrame(DomainEvent, aggregate_id="frame"):
    frame: Frame = Frame()


class DoorOfTwo(DomainEvent, aggregate_id="two"):
    two: tuple[int, int] = (1, 2)


@pytest.mark.parametrize("event", [DoorOfFrame(), DoorOfTwo(), DoorOf(of=[1]), DoorOf(of={"a": 1})])
def test_what_is_no_id_is_no_aggregates_id(event: DomainEvent) -> None:
    with pytest.raises(PublishError, match=r"its aggregate_id is a \w+, which is no id"):
        encode(event, max_bytes=1000)
    # But one that was stored by an earlier release is sent on as it was
    assert outgoing(event, "/here").aggregate_id == event.aggregate_id != ""


def test_a_field_named_aggregate_id_beside_another_one_is_refused() -> None:
    with pytest.raises(DefinitionError, match="says that the aggregate's id is in 'door'"):

        class Torn(DomainEvent, aggregate_id="door"):
            door: int
            aggregate_id: int  # type: ignore[assignment]


def test_private_attributes_and_computed_fields_of_ones_own_are_fine() -> None:
    class DoorCounted(DomainEvent):
        limits: ClassVar[int] = 3
        n: int
        _cache: dict[str, int] = PrivateAttr(default_factory=dict)

        @computed_field  # type: ignore[prop-decorator]
        @property
        def double(self) -> int:
            return self.n * 2

    event = DoorCounted(n=1)
    assert comes_back(event)
    event._cache["double"] = 2
    with pytest.raises(PublishError, match="_cache"):
        encode(event, max_bytes=1000)


class DoorChanged(DomainEvent, Generic[Kind], name="field.changed", version=2):
    value: Kind


class DoorReplaced(DomainEvent, Generic[Kind], version=3):
    value: Kind


class DoorRemoved(DomainEvent, Generic[Kind], abstract=True):
    value: Kind


class OneRemoved(DoorRemoved[UUID]):
    pass


def test_a_generic_event_keeps_its_name_and_version() -> None:
    event = DoorChanged[UUID](value=uuid4())
    row = encode(event, max_bytes=1000)
    assert (row.event_type, row.schema_version) == ("field.changed", 2)
    assert type(decode(row)) is DoorChanged[UUID]
    assert decode(row) == event


def test_one_without_a_name_is_an_event_for_each_of_its_types() -> None:
    for event in (DoorReplaced[int](value=1), DoorReplaced[str](value="1"), OneRemoved(value=uuid4())):
        row = encode(event, max_bytes=1000)
        assert (row.schema_version, decode(row)) == (type(event).schema_version, event)
    assert event_named("DoorReplaced[int]") is DoorReplaced[int]
    assert DoorReplaced[str].schema_version == 3
    with pytest.raises(PublishError, match="abstract"):
        encode(DoorRemoved[int](value=1), max_bytes=1000)


def test_two_forms_under_one_name_are_refused_where_they_are_used() -> None:
    # Given a generic event that has a name, in two forms
    class Moved(DomainEvent, Generic[Kind], name="moved"):
        to: Kind

    # When each has a subclass with a name of its own, then all is well
    class MovedBy(Moved[int], name="moved.by"):
        pass

    class MovedTo(Moved[str], name="moved.to"):
        pass

    assert comes_back(MovedBy(to=1))
    assert comes_back(MovedTo(to="a"))
    # But the forms themselves would both be stored as "moved"
    with pytest.raises(PublishError, match=r"Moved\[int\] and Moved\[str\] .*'moved'.*subclass"):
        encode(Moved[int](to=1), max_bytes=1000)
    with pytest.raises(DefinitionError, match=r"'moved'.*subclass"):

        @handles(Moved[str])
        def on_moved(event: Moved[str]) -> None: ...


def test_a_subclass_has_a_name_and_a_version_of_its_own_and_inherits_the_rest() -> None:
    class Base(DomainEvent, name="base", version=4, aggregate_id="door", masked="key"):
        door: int
        key: str = ""

    class Derived(Base):
        pass

    assert (Derived.event_name, Derived.schema_version) == ("Derived", 1)
    assert (Derived.aggregate_field, Derived.masked_fields) == ("door", ("key",))
