"""JSON Schemas of events for AsyncAPI. They describe the body that leaves the application, which is flat JSON.

AsyncAPI's schemas are draft 07 and a little more, pydantic's are draft 2020-12: this module rewrites the differences.
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
    "eventId": {
        "type": "string",
        "description": "The id of the event at its source; the same in every copy.",
    },
    "eventType": {"type": "string"},
    "aggregateId": {
        "type": "string",
        "description": "The id of the aggregate; empty if the event has none.",
    },
    "dateTimeOccurred": {"type": "string", "format": "date-time", "description": "When the event happened."},
    "timestamp": {"type": "string", "format": "date-time", "description": "The same as dateTimeOccurred."},
}
_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "specversion": {"type": "string", "const": "1.0"},
    "id": {
        "type": "string",
        "description": "A UUID, unless another service gave the id.",
    },
    "source": {"type": "string", "format": "uri-reference"},
    "type": {"type": "string"},
    "subject": {"type": "string", "description": "The id of the aggregate."},
    "time": {"type": "string", "format": "date-time"},
    "schemaversion": {"type": "string", "pattern": "^[1-9][0-9]*$"},
    "correlationid": {"type": "string", "description": "The same for all events that one request caused."},
    "causationid": {"type": "string", "description": "The id of the event that caused this event."},
    "forwardedby": {
        "type": "string",
        "description": "The service that forwards an event of another service.",
    },
}
_TRACE: dict[str, dict[str, Any]] = {"traceparent": {"type": "string"}, "tracestate": {"type": "string"}}
_REQUIRED = ("specversion", "id", "source", "type")  # by CloudEvents 1.0
_VALUES = ("const", "default", "enum", "examples")  # keys whose values are no schemas

Schema = dict[str, Any]


class _Generate(GenerateJsonSchema):
    """Names fields as they are sent: by their aliases if the class says `serialize_by_alias`, else by their names.

    The schema of a field whose type has no JSON Schema, such as a class of the application, allows any value.
    """

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        with self._named_as(schema["cls"].model_config):
            return super().model_schema(schema)

    def dataclass_schema(self, schema: DataclassSchema) -> JsonSchemaValue:
        with self._named_as(getattr(schema["cls"], "__pydantic_config__", None)):
            return super().dataclass_schema(schema)

    @contextmanager
    def _named_as(self, config: Mapping[str, Any] | None) -> Iterator[None]:
        """`config`: of the class; None for a dataclass of the standard library, which obeys the class around it."""
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
    """The name of each event's schema, and all schemas by name, with those to which they refer."""
    if not events:
        return {}, {}
    # All models at once, so that two models with one name get two names.
    of_event, definitions = models_json_schema(
        [(event, "serialization") for event in events],
        by_alias=False,
        ref_template=_WHERE + "{model}",
        schema_generator=_Generate,
    )
    schemas: dict[str, Schema] = definitions.get("$defs", {})
    names = {event: str(of_event[(event, "serialization")]["$ref"]).removeprefix(_WHERE) for event in events}
    for event, name in names.items():
        schemas[name] = _own(event, schemas[name])
    used = _reachable(names.values(), schemas)
    return names, {name: _as_draft_07(schema) for name, schema in schemas.items() if name in used}


def flat(event: type[DomainEvent], own: Schema) -> Schema:
    """The schema of the event's own fields and of the envelope; an own field hides an envelope's field of its name."""
    envelope = {name: dict(schema) for name, schema in _ENVELOPE.items() if name not in keys(event)}
    if "eventType" in envelope:
        envelope["eventType"]["const"] = event.event_name
    required = [*own["required"], *envelope]
    return own | {"properties": own["properties"] | envelope, "required": required}


def structured(event: type[DomainEvent], schema: str) -> Schema:
    """The schema of a body that is a whole CloudEvent, whose data has the schema with this name."""
    attributes = headers(event, [""])["properties"] | {"datacontenttype": {"const": "application/json"}}
    data = {"data": {"$ref": _WHERE + schema}}
    return {"type": "object", "properties": attributes | data, "required": [*_REQUIRED, "data"]}


def webhook(event: type[DomainEvent], schema: str) -> Schema:
    """The schema of a body as Standard Webhooks has it: type, timestamp, data, and the attributes of a CloudEvent."""
    whole = structured(event, schema)["properties"]
    whole["timestamp"] = whole["time"]
    left_out = ("specversion", "time", "datacontenttype")
    properties = {name: schema for name, schema in whole.items() if name not in left_out}
    return {"type": "object", "properties": properties, "required": ["type", "timestamp", "data"]}


def headers(event: type[DomainEvent], prefixes: Iterable[str]) -> Schema:
    """The schema of headers with CloudEvents attributes. A message has only the prefix of its protocol."""
    prefixes = list(dict.fromkeys(prefixes)) or ["ce-"]
    properties = {f"{prefix}{name}": dict(schema) for prefix in prefixes for name, schema in _ATTRIBUTES.items()}
    for prefix in prefixes:
        properties[f"{prefix}type"]["const"] = event.event_name
    trace = {name: dict(schema) for name, schema in _TRACE.items()}
    schema: Schema = {"type": "object", "properties": properties | trace}
    if len(prefixes) == 1:
        schema["required"] = [f"{prefixes[0]}{name}" for name in _REQUIRED]
    return schema


def _own(event: type[DomainEvent], schema: Schema) -> Schema:
    """The schema of those of the event's own fields that are sent."""
    computed, names = event.model_computed_fields, keys(event)
    own = {
        name: value
        for name, value in schema.get("properties", {}).items()
        if name in names and name not in computed  # a computed field is not stored, so it is not sent
    }
    for path in event.masked_fields:
        name, _, within = path.partition(".")
        if not within and not is_public(event):  # a masked field of a private event is not sent
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
    """These schemas, and all schemas to which they refer."""
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in schemas and name not in reached:
            reached.add(name)
            waiting += _references(schemas[name])
    return reached


def _references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for item in value for name in _references(item)]
    if not isinstance(value, dict):
        return []
    own = value.get("$ref")
    below = [name for item in value.values() for name in _references(item)]
    return [own.removeprefix(_WHERE), *below] if isinstance(own, str) else below


def _as_draft_07(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_draft_07(item) for item in value]
    if not isinstance(value, dict):
        return value
    schema = {key: item if key in _VALUES else _as_draft_07(item) for key, item in value.items()}
    if isinstance(schema.get("prefixItems"), list):  # a tuple
        schema["items"] = schema.pop("prefixItems")
        schema["additionalItems"] = False
    if isinstance(schema.get("discriminator"), dict) and "propertyName" in schema["discriminator"]:
        schema["discriminator"] = schema["discriminator"]["propertyName"]
    return schema
