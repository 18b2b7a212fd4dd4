"""A mask hides what it names however that is written, or is refused: it never seems to hide something and does not."""

import json
import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, NamedTuple, NewType, NotRequired, TypeVar

import pydantic.dataclasses
import pytest
from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, Json, RootModel
from pydantic.alias_generators import to_camel
from typing_extensions import TypeAliasType, TypedDict

from events import DefinitionError, DomainEvent
from events.bridges.cloudevents import outgoing
from events.ledger.codec import encode
from events.ledger.masking import mask, mask_foreign

SECRET = "DE89370400440532013000"
CAMEL = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)
BY_NAME = ConfigDict(populate_by_name=True, serialize_by_alias=True)
T = TypeVar("T")


class Model(BaseModel):
    model_config = CAMEL
    card_number: str


class Bounded(Model):
    """What a variable stands for at least."""


B = TypeVar("B", bound=Bounded)


class Typed(TypedDict):
    card_number: str


class TypedAliased(TypedDict):
    card_number: NotRequired[Annotated[str, Field(alias="Nummer")]]


class TypedConfigured(TypedDict):
    __pydantic_config__ = ConfigDict(alias_generator=AliasGenerator(alias=str.upper), populate_by_name=True)  # type: ignore[misc]
    card_number: str


@dataclass
class Data:
    card_number: str


@dataclass
class DataAliased:
    card_number: Annotated[str, Field(alias="Nummer")]


@dataclass
class DataDefault:
    card_number: str = Field(alias="Nummer")


@dataclass
class DataLocal:
    card_number: str
    other: "Unknown" = None  # type: ignore[name-defined] # noqa: F821


@dataclass
class Outer:
    data: Data


@pydantic.dataclasses.dataclass
class PydanticData:
    card_number: str


@dataclass
class Box(Generic[T]):
    item_in_it: T | None
    items: list[T] = field(default_factory=list)


class BoxTyped(TypedDict, Generic[T]):
    item_in_it: T


class Root(RootModel[Model]):
    pass


class RootList(RootModel[list[Model]]):
    pass


class RootOfData(RootModel[Data]):
    model_config = ConfigDict(alias_generator=to_camel)


class Tree(RootModel["list[Tree] | Model"]):
    pass


class Pair(NamedTuple):
    card_number: str
    kind: str = "x"


Ref = NewType("Ref", Model)
ByName = TypeAliasType("ByName", dict[str, T], type_params=(T,))  # type: ignore[misc]
Alias = TypeAliasType("Alias", list[Ref])
CARD = {"card_number": SECRET}

HIDDEN: list[tuple[Any, str, Any, ConfigDict]] = [
    (Typed, "card_number", {"cardNumber": SECRET}, CAMEL),
    (Data, "card_number", Data(SECRET), CAMEL),
    (Outer, "data.card_number", Outer(Data(SECRET)), CAMEL),
    (PydanticData, "card_number", PydanticData(SECRET), CAMEL),
    (list[Typed], "card_number", [{"cardNumber": SECRET}], CAMEL),
    (dict[str, Data], "x.card_number", {"x": Data(SECRET)}, CAMEL),
    (TypedConfigured, "card_number", CARD, BY_NAME),
    (TypedAliased, "card_number", {"Nummer": SECRET}, BY_NAME),
    (DataAliased, "card_number", {"Nummer": SECRET}, BY_NAME),
    (DataDefault, "card_number", {"Nummer": SECRET}, BY_NAME),
    (Ref, "card_number", CARD, BY_NAME),
    (Alias, "card_number", [CARD], BY_NAME),
    (Root, "card_number", CARD, BY_NAME),
    (RootList, "card_number", [CARD], BY_NAME),
    (RootOfData, "card_number", {"cardNumber": SECRET}, BY_NAME),
    (Tree, "card_number", [[CARD]], BY_NAME),
    (Box[Model], "item_in_it.card_number", Box(Model(card_number=SECRET)), CAMEL),
    (Box[Model], "items.card_number", Box(None, [Model(card_number=SECRET)]), CAMEL),
    (BoxTyped[Data], "item_in_it.card_number", {"itemInIt": {"cardNumber": SECRET}}, CAMEL),
    (ByName[Model], "x.card_number", {"x": CARD}, BY_NAME),
    (B, "card_number", Bounded(card_number=SECRET), BY_NAME),
]


def _event(hint: Any, masked: str, config: ConfigDict) -> type[DomainEvent]:
    body = {"__annotations__": {"card": hint}, "__module__": __name__, "model_config": config}
    return type(DomainEvent)("MaskedWithin", (DomainEvent,), body, masked=f"card.{masked}")


@pytest.mark.parametrize(("hint", "masked", "value", "config"), HIDDEN)
def test_a_mask_hides_what_is_within_whatever_it_is_called_there(
    hint: Any, masked: str, value: Any, config: ConfigDict
) -> None:
    # Given an event whose field holds a secret of such a type, as it is stored
    kind = _event(hint, masked, config)
    event = kind(card=value)
    stored = encode(event, max_bytes=10_000)
    assert SECRET in stored.event_data
    # Then no people are shown it, and no bridge sends it
    assert SECRET not in mask(stored.event_data, "{}", kind.event_name, {})
    assert SECRET not in mask_foreign(stored.event_data.encode(), {}).decode()
    assert SECRET not in outgoing(event, "/us").body.decode()


def test_what_stands_beside_a_mask_is_shown() -> None:
    kind = _event(dict[str, Model], "x.card_number", BY_NAME)
    sent = outgoing(kind(card={"x": CARD, "y": CARD}), "/us").body
    assert json.loads(sent)["card"] == {"x": {}, "y": {"cardNumber": SECRET}}


@pytest.mark.parametrize(
    ("hint", "what"),
    [
        (Json[Model], "a string of JSON"),
        (Json[Model] | None, "a string of JSON"),
        (list[Json[list[Model]]], "a string of JSON"),
        (Json, "a string of JSON"),
        (RootModel[Json[Model]], "a string of JSON"),
        (Model | Json[Model], "a string of JSON"),
        (Pair, "a named tuple"),
        (list[Pair] | Model, "a named tuple"),
    ],
)
def test_a_mask_that_can_hide_nothing_is_refused_and_one_for_the_whole_is_not(hint: Any, what: str) -> None:
    # Given a field whose value is written as something that has no names in it
    # Then a mask for a part of it is refused, and the error says which mask is right
    with pytest.raises(DefinitionError, match=re.escape(what)) as refused:
        _event(hint, "card_number", BY_NAME)
    assert "mask the whole field: masked='card'" in str(refused.value)
    body = {"__annotations__": {"card": hint}, "__module__": __name__}
    assert type(DomainEvent)("MaskedWhole", (DomainEvent,), body, masked="card").masked_fields == ("card",)


@pytest.mark.parametrize(
    ("hint", "masked"),
    [(Root, "root"), (Root, "root.card_number"), (Box[Model], "card_number"), (DataLocal, "number"), (Ref, "number")],
)
def test_a_mask_for_what_is_not_there_is_refused(hint: Any, masked: str) -> None:
    with pytest.raises(DefinitionError, match="'card' has nothing named"):
        _event(hint, masked, BY_NAME)
