"""JSON Schemas of events, as AsyncAPI wants them: of the body that leaves the application, which is flat JSON.

AsyncAPI's schemas are those of draft 07 and a little more, and pydantic's of draft 2020-12: what differs is rewritten.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core.core_schema import DataclassSchema, ModelSchema

from events.event import DomainEvent, keys
from events.integration import is_public

_WHERE = "#/components/schemas/"
_ENVELOPE: dict[str, dict[str, Any]] = {
    "eventId": {"type": "string", "description": "Its id at its source: the same however often it comes."},
    "eventType": {"type": "string"},
    "aggregateId": {"type": "string", "description": "The id of what it happened to; empty if nothing has one."},
    "dateTimeOccurred": {"type": "string", "format": "date-time", "description": "When it happened."},
    "timestamp": {"type": "string", "format": "date-time", "description": "The same."},
}
_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "specversion": {"type": "string", "const": "1.0"},
    "id": {"type": "string", "description": "A UUID, unless it came from elsewhere."},
    "source": {"type": "string", "format": "uri-reference"},
    "type": {"type": "string"},
    "subject": {"type": "string", "description": "The aggregate's id."},
    "time": {"type": "string", "format": "date-time"},
    "schemaversion": {"type": "string", "pattern": "^[1-9][0-9]*$"},
    "correlationid": {"type": "string", "description": "Shared by everything that one request caused."},
    "causationid": {"type": "string", "description": "The id of the event that caused this one."},
    "forwardedby": {"type": "string", "description": "Who sends it on, if it came from another source."},
}
_TRACE: dict[str, dict[str, Any]] = {"traceparent": {"type": "string"}, "tracestate": {"type": "string"}}
_REQUIRED = ("specversion", "id", "source", "type")  # by CloudEvents 1.0

Schema = dict[str, Any]


class _Generate(GenerateJsonSchema):
    """Names fields as they are sent: by their aliases where a class says `serialize_by_alias`, and only there.

    A field whose type has no JSON Schema (a class of the application's) is said to be anything.
    """

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        with self._named_as(schema["cls"].model_config):
            return super().model_schema(schema)

    def dataclass_schema(self, schema: DataclassSchema) -> JsonSchemaValue:
        with self._named_as(getattr(schema["cls"], "__pydantic_config__", None)):
            return super().dataclass_schema(schema)

    @contextmanager
    def _named_as(self, config: Mapping[str, Any] | None) -> Iterator[None]:
        """`config`: its own; None for a dataclass of the standard library, which has that of the class around it."""
        outside = self.by_alias
        if config is not None:
            self.by_alias = bool(config.get("serialize_by_alias"))
        try:
            yield
        finally:
            self.by_alias = outside

    def handle_invalid_for_json_schema(self, schema: object, error_info: str) -> JsonSchemaValue:  # noqa: ARG002
        return {}


def bodies(events: Sequence[type[DomainEvent]]) -> tuple[dict[type[DomainEvent], str], dict[str, Schema]]:
    """Each event to the name of its schema, and all schemas by name, with those that they refer to."""
    if not events:
        return {}, {}
    # All at once, so that two models of one name get names of their own.
    of_event, found = models_json_schema(
        [(event, "serialization") for event in events],
        by_alias=False,
        ref_template=_WHERE + "{model}",
        schema_generator=_Generate,
    )
    schemas: dict[str, Schema] = found.get("$defs", {})
    names = {event: str(of_event[(event, "serialization")]["$ref"]).removeprefix(_WHERE) for event in events}
    for event, name in names.items():
        schemas[name] = _own(event, schemas[name])
    used = _reachable(names.values(), schemas)
    return names, {name: _as_draft_07(schema) for name, schema in schemas.items() if name in used}


def flat(event: type[DomainEvent], own: Schema) -> Schema:
    """The event's own fields and, beside them, what is said of every event; an own field of such a name goes first."""
    envelope = {name: dict(one) for name, one in _ENVELOPE.items() if name not in keys(event)}
    if "eventType" in envelope:
        envelope["eventType"]["const"] = event.event_name
    required = [*own["required"], *envelope]
    return own | {"properties": own["properties"] | envelope, "required": required}


def structured(event: type[DomainEvent], schema: str) -> Schema:
    """One CloudEvent as the whole body, with the event's own fields, of that schema, in it."""
    attributes = headers(event, [""])["properties"] | {"datacontenttype": {"const": "application/json"}}
    data = {"data": {"$ref": _WHERE + schema}}
    return {"type": "object", "properties": attributes | data, "required": [*_REQUIRED, "data"]}


def webhook(event: type[DomainEvent], schema: str) -> Schema:
    """The same as Standard Webhooks has it: type, timestamp and data, and what else a CloudEvent says."""
    whole = structured(event, schema)["properties"]
    whole["timestamp"] = whole["time"]
    properties = {name: one for name, one in whole.items() if name not in ("specversion", "time", "datacontenttype")}
    return {"type": "object", "properties": properties, "required": ["type", "timestamp", "data"]}


def headers(event: type[DomainEvent], prefixes: Iterable[str]) -> Schema:
    """CloudEvents attributes beside the body; of several prefixes a message has those of its protocol."""
    prefixes = list(dict.fromkeys(prefixes)) or ["ce-"]
    properties = {f"{prefix}{name}": dict(schema) for prefix in prefixes for name, schema in _ATTRIBUTES.items()}
    for prefix in prefixes:
        properties[f"{prefix}type"]["const"] = event.event_name
    schema: Schema = {"type": "object", "properties": properties | {name: dict(one) for name, one in _TRACE.items()}}
    if len(prefixes) == 1:
        schema["required"] = [f"{prefixes[0]}{name}" for name in _REQUIRED]
    return schema


def _own(event: type[DomainEvent], schema: Schema) -> Schema:
    """The event's own fields, as far as they are sent."""
    computed, names = event.model_computed_fields, keys(event)
    own = {
        name: value
        for name, value in schema.get("properties", {}).items()
        if name in names and name not in computed  # which are not stored, and so not sent
    }
    for path in event.masked_fields:
        name, _, within = path.partition(".")
        if not within and not is_public(event):  # what a private event masks is not sent
            own.pop(name, None)
        elif name in own:
            own[name] = {**own[name], "x-masked": [*own[name].get("x-masked", ()), path]}
    required = [name for name in schema.get("required", ()) if name in own]
    return {
        "type": "object",
        "title": event.__name__,
        **({"description": schema["description"]} if event.__doc__ and "description" in schema else {}),
        "properties": own,
        "required": required,
    }


def _reachable(names: Iterable[str], schemas: dict[str, Schema]) -> set[str]:
    """Those names, and all that they refer to."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in schemas and name not in found:
            found.add(name)
            waiting += _references(schemas[name])
    return found


def _references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for one in value for name in _references(one)]
    if not isinstance(value, dict):
        return []
    own = value.get("$ref")
    below = [name for one in value.values() for name in _references(one)]
    return [own.removeprefix(_WHERE), *below] if isinstance(own, str) else below


def _as_draft_07(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_draft_07(one) for one in value]
    if not isinstance(value, dict):
        return value
    schema = {key: one if key in ("const", "default", "enum", "examples") else _as_draft_07(one)
              for key, one in value.items()}  # fmt: skip
    if isinstance(schema.get("prefixItems"), list):  # a tuple
        schema["items"] = schema.pop("prefixItems")
        schema["additionalItems"] = False
    if isinstance(schema.get("discriminator"), dict) and "propertyName" in schema["discriminator"]:
        schema["discriminator"] = schema["discriminator"]["propertyName"]
    return schema
