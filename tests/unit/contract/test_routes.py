"""Where the document says that an event goes is where its bridge sends it, whatever the event is called."""

import json
from dataclasses import asdict

import pytest

from events import DomainEvent, IntegrationEvent
from events.bridges.contract import Bridge, Message
from events.bridges.opening import _MODULES, open_bridge
from events.cli.output import as_json
from events.contract.asyncapi import document
from events.contract.catalog import catalog_of
from events.contract.routes import Route, routes_of
from events.errors import Unsendable
from events.settings.settings import Settings
from support.hostile_types import HOSTILE_TYPES

URLS = {scheme: f"{scheme}://h/" for scheme in _MODULES}
OUT = {scheme: f"{url}?forward=*" for scheme, url in URLS.items()}


def declared(event_type: str) -> type[DomainEvent]:
    class Declared(IntegrationEvent, name=event_type):
        pass

    return Declared


HOSTILE = [declared(f"test_routes{event_type}"[:255]) for event_type in HOSTILE_TYPES]


def route(url: str) -> Route:
    (found,) = routes_of(Settings(broker_url="", bridges=(url,)))
    return found


def said_by(bridge: Bridge, event_type: str) -> tuple[str | None, str]:
    """Where it sends such an event, or why it can't."""
    try:
        return bridge.address(event_type), ""
    except Unsendable as refused:
        return None, str(refused)


@pytest.mark.parametrize("scheme", _MODULES)
def test_a_bridge_says_what_its_scheme_is(scheme: str) -> None:
    _, bridge = open_bridge(URLS[scheme], Settings(broker_url=""))
    # Then its class knows the scheme by which it was found, and no other than what leads to it
    assert scheme in bridge.schemes
    assert {_MODULES[one] for one in bridge.schemes} == {_MODULES[scheme]}
    # And nobody has to guess how its server is reached
    assert bridge.schemes[scheme].port
    assert bridge.features.headers == bool(bridge.attribute_prefix)


@pytest.mark.parametrize("scheme", _MODULES)
def test_the_document_shows_the_address_of_the_bridge(scheme: str) -> None:
    # Given events with names that mean something to servers
    _, bridge = open_bridge(URLS[scheme], Settings(broker_url=""))
    # When each is described
    for event in HOSTILE:
        made = document([event], [], [route(OUT[scheme])])
        (channel,) = made["channels"].values()
        # Then its address is the one of the bridge, or there is none, and a word why
        address, refusal = said_by(bridge, event.event_name)
        assert channel["address"] == address
        assert channel.get("description", "").endswith(refusal)


@pytest.mark.parametrize(
    ("url", "event_type", "address"),
    [
        ("nats://h", "card..added", "events.card%2E%2Eadded"),
        ("nats+tls+jetstream://h?prefix=shop", "a *>", "shop.a%20%2A%3E"),
        ("redis+pubsub://h", "a *", "events:a *"),
        ("rediss+streams://h?stream=all", "a *", "all"),
        ("kafka://h", "card..added", "events.card..added"),
        ("kafka://h", "a b", None),
        ("kafka+tls://h?topic=all", "a b", "all"),
        ("rabbitmq+topic://h", "a.*", "a.*"),
        ("rabbitmqs+topic://h", "ü" * 128, None),
        ("https://h/hooks/?key=secret", "a b", "/hooks/"),
        ("https://h", "a b", "/"),
    ],
)
def test_addresses_are_what_they_are(url: str, event_type: str, address: str | None) -> None:
    assert route(url).place(event_type).address == address


def test_what_a_server_has_no_address_for_is_not_sent() -> None:
    # Given a bridge to RabbitMQ, and an event whose name is too long for a routing key
    url = "rabbitmq+topic://127.0.0.1:1"
    refused = route(url).place("ü" * 128)
    # When it is to be sent, then the bridge refuses before it connects, in the words of the document
    _, bridge = open_bridge(url, Settings(broker_url=""))
    with pytest.raises(Unsendable) as raised:
        bridge.publisher().send([Message("1", "ü" * 128, "", b"{}")])
    assert (refused.address, refused.refusal) == (None, str(raised.value))


def test_two_bridges_with_one_address_share_a_channel_and_refusals_do_not() -> None:
    settings = Settings(
        broker_url="", forward=("*",),
        bridges=("kafka://h?name=one", "kafka://g?name=two", "rabbitmq+topic://h", "kafka://i?name=three&topic=all"),
    )  # fmt: skip
    long = declared("ü" * 140)
    made = document([long], [], routes_of(settings))
    served = [[one["$ref"] for one in channel["servers"]] for channel in made["channels"].values()]
    assert served == [["#/servers/one", "#/servers/two"], ["#/servers/rabbitmq"], ["#/servers/three"]]
    assert [channel["address"] for channel in made["channels"].values()] == [None, None, "all"]


def test_the_catalog_says_where_each_bridge_puts_what_it_forwards() -> None:
    # Given a bridge with a password, which forwards all
    dotted, spaced = declared("routed..twice"), declared("routed once")
    found = catalog_of([dotted, spaced], [], [route("nats://me:secret@n?forward=*"), route("kafka://k?forward=*")])
    # When the catalog is JSON
    text = as_json([asdict(one) for one in found.routes])
    # Then it has the addresses, and no password
    nats, kafka = json.loads(text)
    assert nats["addresses"] == {"routed..twice": "events.routed%2E%2Etwice", "routed once": "events.routed%20once"}
    assert kafka["addresses"] == {"routed..twice": "events.routed..twice", "routed once": None}
    assert (nats["protocol"], nats["host"], nats["headers"], kafka["headers"]) == ("nats", "n", "ce-", "ce_")
    assert "secret" not in text
