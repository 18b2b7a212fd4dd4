"""The contract as AsyncAPI 3.0: whole in itself, true of what is sent, and the same in YAML."""

import subprocess
from pathlib import Path

import pytest
import yaml

from events import DomainEvent
from events.contract.asyncapi import document
from events.contract.routes import Route, routes_of
from events.handling.registry import handler_named
from events.settings.settings import Settings
from support.asyncapi import FLAT, body_of, check, resolve
from support.size import FULL
from support.theatre import (
    BRIDGES,
    EVENTS,
    HANDLERS,
    REDIS,
    SeatBroken,
    ShowCancelled,
    TicketSold,
    TicketSoldV1,
    routes,
)


@pytest.mark.parametrize("bridges", [[], BRIDGES], ids=["no bridge", "bridges"])
@pytest.mark.parametrize("events", [[], EVENTS, [*EVENTS, TicketSold]], ids=["none", "public", "all"])
def test_the_document_is_whole(events: list[type[DomainEvent]], bridges: list[Route]) -> None:
    made = document(events, HANDLERS, bridges, title="Theatre", version="2.1.0")
    check(made)
    assert {message["name"] for message in made["components"]["messages"].values()} == {
        event.event_name for event in events
    }


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
