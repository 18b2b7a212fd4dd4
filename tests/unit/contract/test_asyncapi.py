"""The contract as AsyncAPI 3.0: whole in itself, true of what is sent, and the same in YAML."""

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic.dataclasses
import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, RootModel, computed_field, create_model
from pydantic.alias_generators import to_camel

from events import DomainEvent, IntegrationEvent, handles, translates
from events.bridges.cloudevents import outgoing
from events.contract.asyncapi import document
from events.contract.routes import Route, routes_of
from events.event import RESERVED
from events.handling.registry import handler_named
from events.settings.settings import Settings
from support.field_types import TYPES
from support.size import FULL


class Currency(Enum):
    EUR = "EUR"


class Price(BaseModel):
    amount: Decimal
    currency: Currency = Currency.EUR


class Card(BaseModel):
    kind: Literal["card"] = "card"
    number: str


class Cash(BaseModel):
    kind: Literal["cash"] = "cash"


class Unknown:
    pass


class Part(BaseModel):
    parts: list["Part"] = []


class TicketSold(DomainEvent, aggregate_id="seat", masked=("phone", "payment.number")):
    """Known here alone."""

    seat: str
    phone: str = ""
    payment: Card = Card(number="4111")


class TicketSoldV1(IntegrationEvent, name="theatre.ticket-sold.v1", aggregate_id="seat", version=3, masked="guest"):
    """A seat is taken.

    What is said here is not for others.
    """

    seat: str = Field(description='As on the "ticket", größer')
    guest: str = "nobody"
    price: Price = Price(amount=Decimal("12.50"))
    payment: Annotated[Card | Cash, Field(discriminator="kind")] = Cash()
    row: tuple[int, str] = (1, "a")
    day: date | None = None
    stage: Part = Part()

    @computed_field
    @property
    def label(self) -> str:
        return f"{self.seat}!"


class SeatBroken(IntegrationEvent, name="house/seat broken"):
    seat: str


@translates(TicketSold)
def tell_the_theatre(event: TicketSold) -> Iterator[TicketSoldV1]:
    yield TicketSoldV1(seat=event.seat)


class SeatClosed(DomainEvent):
    seat: str


class ShowCancelled(IntegrationEvent, name="theatre.show-cancelled.v1"):
    show: str


@translates(SeatBroken)
def close_seat(event: SeatBroken) -> SeatClosed:
    return SeatClosed(seat=event.seat)


@translates(TicketSoldV1)
def believe_the_theatre(event: TicketSoldV1) -> TicketSold:
    return TicketSold(seat=event.seat)


@handles(TicketSold)
def count_tickets(event: TicketSold) -> None: ...


@handles(ShowCancelled, TicketSoldV1)
def refund(event: DomainEvent) -> None: ...


EVENTS = [TicketSoldV1, SeatBroken]
HANDLERS = [handler_named(name) for name in ("tell_the_theatre", "close_seat", "count_tickets")]


def routes(*urls: str) -> list[Route]:
    return routes_of(Settings(broker_url="", bridges=urls))


REDIS = "redis+streams://cache:6379/0?direction=both"
BRIDGES = routes(
    REDIS, "rabbitmqs+topic://mq:5671?exchange=shop&name=rabbit", "nats://n:4222?format=structured",
    "kafka://k:9092?forward=TicketSold",
)  # fmt: skip


FLAT = ("eventId", "eventType", "aggregateId", "dateTimeOccurred", "timestamp")


def check(made: dict[str, Any]) -> None:
    """What AsyncAPI 3.0 asks of a document that has what ours have."""
    assert made["asyncapi"] == "3.0.0"
    assert isinstance(made["info"]["title"], str)
    assert isinstance(made["info"]["version"], str)
    allowed = {"asyncapi", "info", "defaultContentType", "servers", "channels", "operations", "components"}
    assert set(made) <= allowed
    for key in (*made["channels"], *made["operations"], *made["components"]["messages"]):
        assert set(key) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"), key
    for node in walk(made):
        if "$ref" in node:
            resolve(made, node["$ref"])  # or a KeyError
        assert not {"$defs", "prefixItems", "unevaluatedProperties"} & set(node), "draft 07 knows no such word"
        assert isinstance(node.get("discriminator", ""), str)
    for server in made.get("servers", {}).values():
        assert {"host", "protocol"} <= set(server)
    for channel in made["channels"].values():
        assert set(channel) <= {"address", "description", "messages", "servers", "bindings"}
    for operation in made["operations"].values():
        assert operation["action"] in ("send", "receive")
        for message in operation["messages"]:
            assert message["$ref"].startswith(operation["channel"]["$ref"] + "/messages/")
    for message in made["components"]["messages"].values():
        payload = message["payload"]
        assert (resolve(made, payload["$ref"]) if "$ref" in payload else payload)["type"] == "object"
        assert message.get("headers", {"type": "object"})["type"] == "object"


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    if isinstance(value, (dict, list)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from walk(one)


def resolve(made: dict[str, Any], reference: str) -> Any:
    found: Any = made
    for part in reference.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def body_of(event: DomainEvent) -> dict[str, Any]:
    """What a bridge sends."""
    own: dict[str, Any] = json.loads(event.model_dump_json(exclude=set(RESERVED), round_trip=True))
    return own | dict.fromkeys(FLAT, "") | {"eventType": event.event_name}


@pytest.mark.parametrize("bridges", [[], BRIDGES], ids=["no bridge", "bridges"])
@pytest.mark.parametrize("events", [[], EVENTS, [*EVENTS, TicketSold]], ids=["none", "public", "all"])
def test_the_document_is_whole(events: list[type[DomainEvent]], bridges: list[Route]) -> None:
    made = document(events, HANDLERS, bridges, title="Theatre", version="2.1.0")
    check(made)
    assert {message["name"] for message in made["components"]["messages"].values()} == {
        event.event_name for event in events
    }


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


def test_what_comes_in_is_received_and_the_rest_is_sent() -> None:
    made = document(EVENTS, HANDLERS)
    assert {name: one["action"] for name, one in made["operations"].items()} == {
        "theatre.ticket-sold.v1": "send", "receive.house_seat_broken": "receive",
    }  # fmt: skip
    assert made["channels"]["house_seat_broken"]["address"] == "house/seat broken"
    message = made["components"]["messages"]["theatre.ticket-sold.v1"]
    assert (message["x-schema-version"], message["summary"]) == (3, "A seat is taken.")
    assert message["headers"]["required"] == ["ce-specversion", "ce-id", "ce-source", "ce-type"]


def test_what_a_handler_takes_comes_in_if_a_bridge_brings_events() -> None:
    # Given an event that a handler takes, and that no translator makes, and one that a translator makes
    handlers = [handler_named(name) for name in ("tell_the_theatre", "refund")]
    kafka, redis = routes("kafka://k:9092", REDIS)

    def actions(*bridges: Route) -> dict[str, str]:
        made = document([ShowCancelled, TicketSoldV1], handlers, bridges)
        check(made)
        return {name: one["action"] for name, one in made["operations"].items()}

    # Then the one is received where a bridge brings events, and may be published by any code, as ever
    assert actions(kafka, redis) == {
        "theatre.show-cancelled.v1.kafka": "send", "theatre.show-cancelled.v1.redis": "send",
        "receive.theatre.show-cancelled.v1.redis": "receive",
        "theatre.ticket-sold.v1.kafka": "send", "theatre.ticket-sold.v1.redis": "send",
    }  # fmt: skip
    # And where none does, nothing is
    assert set(actions(kafka).values()) == {"send"}


def test_bridges_are_servers_and_say_where_an_event_is_found() -> None:
    made = document([*EVENTS, TicketSold], HANDLERS, BRIDGES)
    assert made["servers"]["redis"] == {"host": "cache:6379", "protocol": "redis", "pathname": "/0"}
    addresses = {name: one["address"] for name, one in made["channels"].items()}
    assert addresses == {
        "TicketSold.kafka": "events.TicketSold",
        "theatre.ticket-sold.v1.redis": "events:theatre.ticket-sold.v1",
        "theatre.ticket-sold.v1.rabbit": "theatre.ticket-sold.v1",
        "theatre.ticket-sold.v1.nats": "events.theatre.ticket-sold.v1",
        "house_seat_broken.redis": "events:house/seat broken",
    }
    rabbit = made["channels"]["theatre.ticket-sold.v1.rabbit"]
    assert rabbit["servers"] == [{"$ref": "#/servers/rabbit"}]
    assert rabbit["bindings"]["amqp"]["is"] == "routingKey"
    assert rabbit["bindings"]["amqp"]["exchange"]["name"] == "shop"
    assert made["channels"]["TicketSold.kafka"]["bindings"] == {"kafka": {"topic": "events.TicketSold"}}
    headers = made["components"]["messages"]["TicketSold"]["headers"]
    assert headers["properties"]["ce_type"]["const"] == "TicketSold"


def test_a_structured_message_is_one_cloud_event() -> None:
    made = document([TicketSoldV1], HANDLERS, [route for route in BRIDGES if route.form == "structured"])
    check(made)
    (message,) = made["components"]["messages"].values()
    assert message["contentType"] == "application/cloudevents+json"
    assert message["payload"]["properties"]["type"]["const"] == "theatre.ticket-sold.v1"
    data = resolve(made, message["payload"]["properties"]["data"]["$ref"])
    assert set(data["properties"]) == set(body_of(TicketSoldV1(seat="A1"))) - set(FLAT)
    # And nobody is told of a form that isn't used
    assert "TicketSoldV1" not in made["components"]["schemas"]


def test_what_comes_in_by_nothing_that_is_known_is_flat_whatever_goes_out() -> None:
    # Given an event that comes in and goes out, and a bridge for one way only
    made = document([TicketSoldV1], [*HANDLERS, handler_named("believe_the_theatre")], [BRIDGES[2]])
    check(made)
    assert {one["action"] for one in made["operations"].values()} == {"send", "receive"}
    assert set(made["components"]["messages"]) == {"theatre.ticket-sold.v1", "theatre.ticket-sold.v1.structured"}


def test_a_url_of_a_bridge_says_all_that_the_document_needs() -> None:
    settings = Settings(
        broker_url="",
        bridges=("redis+streams://me:secret@cache:6379/1?direction=both&stream=all&name=cache",
                 "nats://n:4222?forward=TicketSold&format=structured", "redis+pubsub://p/0?forward=*",
                 "rabbitmq+topic://h/v"),
        forward=("HouseSold",),
    )  # fmt: skip
    cache, nats, plain, rabbit = routes_of(settings)
    assert (cache.name, cache.protocol, cache.host, cache.path) == ("cache", "redis", "cache:6379", "/1")
    assert (cache.inbound, cache.outbound, cache.forward) == (True, True, ("HouseSold",))
    assert cache.place("A").address == "all"
    assert nats.place("house/seat broken").address == "events.house%2Fseat%20broken"
    assert (plain.place("A").address, plain.headers) == ("events:A", None)
    assert (rabbit.place("A").address, rabbit.headers) == ("A", "cloudEvents_")
    assert rabbit.place("A").bindings["amqp"]["exchange"]["name"] == "domain_events"
    (message,) = document([SeatBroken], HANDLERS[:1], [plain])["components"]["messages"].values()
    assert "headers" not in message
    assert (nats.takes(TicketSold), nats.takes(TicketSoldV1), nats.form) == (True, False, "structured")


def test_the_official_parser_takes_it(tmp_path: Path) -> None:
    if not FULL:  # it is fetched from npm
        return
    subprocess.run(["npm", "install", "@asyncapi/parser"], cwd=tmp_path, check=True, capture_output=True, timeout=110)
    (tmp_path / "document.yaml").write_text(yaml.safe_dump(document([*EVENTS, TicketSold], HANDLERS, BRIDGES)))
    (tmp_path / "check.mjs").write_text(
        "import { Parser } from '@asyncapi/parser'; import { readFileSync } from 'fs';\n"
        "const found = await new Parser().parse(readFileSync('document.yaml', 'utf8'));\n"
        "console.log(JSON.stringify(found.diagnostics.filter((one) => one.severity < 2)));\n"
        "process.exit(found.document ? 0 : 1);\n"
    )
    done = subprocess.run(["node", "check.mjs"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
