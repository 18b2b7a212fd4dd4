"""The schemas of the contract are true of what is sent: each field's name and kind, and nothing that is masked."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import pydantic.dataclasses
import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, create_model
from pydantic.alias_generators import to_camel

from events import DomainEvent, IntegrationEvent
from events.bridges.cloudevents import outgoing
from events.contract.asyncapi import document
from support.asyncapi import body_of, check, resolve
from support.field_types import TYPES
from support.theatre import EVENTS, HANDLERS, TicketSold, TicketSoldV1, Unknown, routes


def test_a_schema_is_true_of_what_is_sent() -> None:
    made = document(EVENTS, HANDLERS)
    schema = resolve(made, made["components"]["messages"]["theatre.ticket-sold.v1"]["payload"]["$ref"])
    sent = body_of(TicketSoldV1(seat="A1"))
    # Then every field of the body is described, and what is required is there
    assert set(sent) == set(schema["properties"])
    assert set(schema["required"]) <= set(sent)
    assert schema["properties"]["eventType"]["const"] == sent["eventType"]
    # And what isn't for others, or isn't sent, is not in it
    assert not {"label", "event_id", "metadata"} & set(schema["properties"])
    assert schema["properties"]["guest"]["x-masked"] == ["guest"]
    assert schema["properties"]["seat"]["description"] == 'As on the "ticket", größer'
    tuple_schema = schema["properties"]["row"]
    assert [one["type"] for one in tuple_schema["items"]] == ["integer", "string"]
    assert schema["properties"]["payment"]["discriminator"] == "kind"
    # And nested models are there, those of the envelope's own aren't
    assert {"Price", "Currency", "Part"} <= set(made["components"]["schemas"])
    assert "Metadata" not in made["components"]["schemas"]


class Inner(BaseModel):
    the_price: int = Field(1, alias="thePrice")


class InnerByAlias(Inner):
    model_config = ConfigDict(serialize_by_alias=True)


@pytest.mark.parametrize("form", ["flat", "structured", "webhook"])
@pytest.mark.parametrize("generator", [None, to_camel])
@pytest.mark.parametrize("by_alias", [False, True])
def test_fields_are_called_in_it_what_they_are_called_in_what_is_sent(
    by_alias: bool, generator: Callable[[str], str] | None, form: str
) -> None:
    # Given an event with aliases, of its own and within
    config = ConfigDict(alias_generator=generator, serialize_by_alias=by_alias)
    told: type[DomainEvent] = create_model(
        "ToldByAlias", __base__=type("Base", (IntegrationEvent,), {"__module__": __name__, "model_config": config}),
        seat_no=(int, 1), guest_no=(int, Field(2, alias="GuestNo")), event_no=(int, Field(3, alias="timestamp")),
        inner=(Inner, Inner()), named=(InnerByAlias, InnerByAlias()), several=(list[InnerByAlias], [InnerByAlias()]),
    )  # fmt: skip
    made = document([told], HANDLERS, routes(f"http://h?format={form}"))
    (message,) = made["components"]["messages"].values()
    sent = json.loads(outgoing(told(), "/us", form=form).body)
    # Then the document has the names of the message, at every level
    payload = message["payload"]
    described = resolve(made, payload["$ref"]) if "$ref" in payload else payload
    assert set(sent) <= set(described["properties"])
    assert set(described["required"]) <= set(sent)
    if form != "flat":
        sent, described = sent["data"], resolve(made, described["properties"]["data"]["$ref"])
    assert set(sent) == set(described["properties"])
    for name, model in (("inner", Inner), ("named", InnerByAlias)):
        assert set(resolve(made, f"#/components/schemas/{model.__name__}")["properties"]) == set(sent[name])


@dataclass
class Plain:
    the_price: int = 1


@dataclass
class PlainAliased:
    the_price: Annotated[int, Field(alias="price")] = 1


@dataclass
class WithConfig:
    __pydantic_config__ = ConfigDict(alias_generator=str.upper)
    the_price: int = 1


@dataclass
class WithConfigByAlias:
    __pydantic_config__ = ConfigDict(alias_generator=str.upper, serialize_by_alias=True)
    the_price: int = 1


@pydantic.dataclasses.dataclass
class OfPydantic:
    the_price: int = 1


class RootByAlias(RootModel[Plain]):
    model_config = ConfigDict(alias_generator=str.upper, serialize_by_alias=True)


@pytest.mark.parametrize("generator", [None, to_camel])
@pytest.mark.parametrize("by_alias", [False, True])
@pytest.mark.parametrize(
    "value",
    [Plain(), PlainAliased(), WithConfig(), WithConfigByAlias(), OfPydantic(), RootByAlias(Plain())],
    ids=lambda value: type(value).__name__,
)
def test_fields_of_dataclasses_are_called_in_it_what_they_are_called_in_what_is_sent(
    value: object, by_alias: bool, generator: Callable[[str], str] | None
) -> None:
    # Given an event with a dataclass, which may have a config of its own, or that of the event
    config = ConfigDict(alias_generator=generator, serialize_by_alias=by_alias, populate_by_name=True)
    base = type("Base", (IntegrationEvent,), {"__module__": __name__, "model_config": config})
    told: type[DomainEvent] = create_model("ToldPlainly", __base__=base, inner=(type(value), value))
    made = document([told], HANDLERS)
    # Then the document has the names of the message
    sent = json.loads(outgoing(told(), "/us").body)["inner"]
    described = made["components"]["schemas"]["ToldPlainly"]["properties"]["inner"]
    while "$ref" in described or "allOf" in described:
        described = resolve(made, (described.get("allOf") or [described])[0]["$ref"])
    assert set(described["properties"]) == set(sent)


def test_whatever_a_field_can_be_has_a_schema() -> None:
    # Given an event for each type of field, those that JSON Schema knows nothing of among them
    allowed = ConfigDict(arbitrary_types_allowed=True)
    base = type("Described", (DomainEvent,), {"__module__": __name__, "model_config": allowed})
    events = [
        create_model(f"Described{number}", __base__=base, value=(annotation, ...))
        for number, (annotation, _) in enumerate([*TYPES, (Unknown, ())])
    ]
    # Then each is described, and what can't be is said to be anything
    made = document(events)
    check(made)
    schemas = [made["components"]["schemas"][event.__name__]["properties"]["value"] for event in events]
    assert schemas[-1] == {"title": "Value"}


def test_a_private_event_says_nothing_of_what_it_masks() -> None:
    made = document([TicketSold], HANDLERS)
    schema = made["components"]["schemas"]["TicketSold"]
    assert "phone" not in schema["properties"]
    assert "phone" not in schema["required"]
    assert schema["properties"]["payment"]["x-masked"] == ["payment.number"]
