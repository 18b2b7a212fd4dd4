"""What AsyncAPI 3.0 asks of a document, and what a bridge sends that has to fit it."""

import json
from collections.abc import Iterator
from typing import Any

from events import DomainEvent
from events.event import RESERVED

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
