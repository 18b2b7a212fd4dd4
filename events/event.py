"""Domain events: facts, named in the past tense, that never change once they are made.

    class CardAddedToLibraryEvent(DomainEvent, aggregate_id="library_id"):
        card_id: UUID
        library_id: UUID
        added_by: str

What is stored is the *event name* and *schema version* declared on the class, never the import path: a class
can move or be renamed (with `name="OldName"`) without orphaning its history.
"""

import hashlib
import inspect
import json
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from events.definition import (
    Origin,
    aggregate_field,
    check_attributes,
    check_fields,
    here,
    keys_of,
    replaces,
    spellings,
    uuid7,
)
from events.errors import DefinitionError

RESERVED = ("event_id", "occurred_at", "metadata")
MAX_NAME = 255  # event_store.event_type and aggregate_id are varchar(255)


class Metadata(BaseModel):
    """What is known about an event besides its own fields.

    `correlation_id` is shared by everything that one request caused; `causation_id` is the event whose handler
    published this one. Both are filled in by `publish`; further keys are kept as given.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    correlation_id: str | None = None
    causation_id: str | None = None


class DomainEvent(BaseModel):
    """Base class of all events: a frozen pydantic model.

    Class arguments (a subclass inherits aggregate_id and masked, and has a name and a version of its own):
        name: stable name under which it is stored; default the class name (at most 255 characters).
        version: schema version of its fields, a positive int; default 1.
        aggregate_id: the field that holds the id of the aggregate it belongs to; default none.
        abstract: True for a base class of events which is itself never published.
        masked: fields that people are shown as ***: "iban", or "card.number" within one; and those of base classes.

    Raises:
        DefinitionError: at import, for a name that two classes claim, an unknown aggregate field, a field that has the
            name of something that every event has, or one that could not come back from the ledger.
        pydantic.ValidationError: when an event is made from wrong values or unknown fields.
    """

    # Unknown fields are a typo when an event is made, and tolerated when one is read (see events.ledger.codec).
    # NaN and infinity have no JSON number: as strings they survive the round trip.
    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_inf_nan="strings", ser_json_bytes="base64", val_json_bytes="base64"
    )

    event_name: ClassVar[str] = ""
    schema_version: ClassVar[int] = 1
    aggregate_field: ClassVar[str | None] = None
    defined_at: ClassVar[str] = ""
    masked_fields: ClassVar[tuple[str, ...]] = ()

    _origin: ClassVar[Origin]  # who made it
    _is_named: ClassVar[bool] = False  # by name=

    event_id: UUID = Field(default_factory=uuid7)
    occurred_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    metadata: Metadata = Field(default_factory=Metadata)

    @field_validator("occurred_at")
    @classmethod
    def _in_utc(cls, value: datetime) -> datetime:
        return value.astimezone(UTC)

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        version: int = 1,
        aggregate_id: str | None = None,
        abstract: bool = False,
        masked: Collection[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        check_attributes(cls, DomainEvent, place := _place_of(cls))
        cls.event_name = "" if abstract else name or cls.__name__
        cls.schema_version = version
        cls.defined_at = place
        cls._origin = here()
        cls._is_named = bool(name)
        cls._declared_aggregate_id = aggregate_id
        cls._masks = tuple(dict.fromkeys((*cls._masks, *((masked,) if isinstance(masked, str) else masked))))

    _declared_aggregate_id: ClassVar[str | None] = None
    _masks: ClassVar[tuple[str, ...]] = ()  # as they are declared

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        generic = cls.__pydantic_generic_metadata__
        if generic["origin"] is not None:
            cls._become_parametrised(generic["origin"], open_=bool(generic["parameters"]))
        where = f"event {cls.__name__} ({cls.defined_at})"
        check_fields(cls, DomainEvent, where)
        cls.aggregate_field = aggregate_field(cls, cls._declared_aggregate_id, own_fields(cls), where)
        if cls.aggregate_field in cls._masks:
            raise DefinitionError(
                f"{where} masks {cls.aggregate_field!r}, its aggregate's id, which has a column of its own"
            )
        cls.masked_fields = spellings(cls, cls._masks, own_fields(cls), where)
        if cls.masked_fields and not cls.model_config.get("hide_input_in_errors"):
            cls.model_config = cls.model_config | ConfigDict(hide_input_in_errors=True)
            cls.model_rebuild(force=True, raise_errors=False)
        if isinstance(cls.schema_version, bool) or not isinstance(cls.schema_version, int) or cls.schema_version < 1:
            raise DefinitionError(f"{where} says version={cls.schema_version!r}; a schema version is 1 or greater")
        if cls.event_name:
            _remember(cls, where)

    @classmethod
    def _become_parametrised(cls, generic: Any, *, open_: bool) -> None:
        """`Changed[int]` takes its name and version from the class `Changed`; `Changed[T]` is no event yet."""
        cls.schema_version, cls.defined_at, cls._origin = generic.schema_version, generic.defined_at, generic._origin
        cls._is_named = generic._is_named
        if open_ or not generic.event_name:
            cls.event_name = ""
        elif generic._is_named:
            cls.event_name = generic.event_name

    @classmethod
    def upcast(cls, data: dict[str, Any], version: int) -> dict[str, Any]:  # noqa: ARG003 - for those who override it
        """Upcaster: bring the data of a stored event of an older schema version into today's form.

        Override it together with a new `version=`. Called with the stored version, before the data is validated.
        """
        return data

    @classmethod
    def __pydantic_on_complete__(cls) -> None:
        if cls.masked_fields:  # the classes that it waited for are defined now, with their aliases
            where = f"event {cls.__name__} ({cls.defined_at})"
            cls.masked_fields = spellings(cls, cls._masks, own_fields(cls), where)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        hidden = {field.partition(".")[0] for field in self._masks}
        for name, value in super().__repr_args__():
            yield name, "***" if name in hidden else value

    if TYPE_CHECKING:

        @property
        def aggregate_id(self) -> str:
            """The aggregate's id as text, "" if the class names no aggregate. A field of this name is itself."""

    else:  # not a property: pydantic would take it for the default of a field of this name

        def __getattr__(self, name: str) -> Any:
            if name != "aggregate_id":
                return super().__getattr__(name)
            value = None if self.aggregate_field is None else getattr(self, self.aggregate_field)
            return "" if value is None else str(value)


def aggregate_of(event: DomainEvent) -> str:
    """The aggregate's id as text, "" if it has none."""
    value: object = event.aggregate_id
    return value if type(value) is str else "" if value is None else str(value)


def own_fields(event_class: type[DomainEvent]) -> list[str]:
    """The names of an event's own fields, which are what `event_store.event_data` holds."""
    return [field for field in event_class.model_fields if field not in RESERVED]


@lru_cache(1000)
def keys(event_class: type[DomainEvent]) -> frozenset[str]:
    """All that the event's own fields may be called in JSON."""
    fields = event_class.model_fields
    return frozenset(key for name in own_fields(event_class) for key in (name, *keys_of(fields[name])))


def fingerprint(event_class: type[DomainEvent]) -> str:
    """What tells two forms of an event apart: its schema version, and the fields that it can't do without."""
    required = sorted(field for field in own_fields(event_class) if event_class.model_fields[field].is_required())
    return f"{event_class.schema_version}:{hashlib.sha256(json.dumps(required).encode()).hexdigest()[:12]}"


_events: dict[str, type[DomainEvent]] = {}
_ambiguous: dict[str, str] = {}  # event name to forms of one generic event that have it


def event_named(name: str) -> type[DomainEvent] | None:
    """The event class stored under `name`, or None when no imported module defines it."""
    return _events.get(name)


def all_events() -> Iterator[type[DomainEvent]]:
    """Every event class imported so far."""
    return iter(tuple(_events.values()))


def ambiguity(name: str) -> str | None:
    """Why no event can be stored under this name, if none can: two forms of a generic one would have it."""
    forms = _ambiguous.get(name)
    if forms is None:
        return None
    return (
        f"{forms} would all be stored as {name!r}, and can't be told apart when they are read; subclass each, and "
        f"publish and handle those: class Some(Generic[...], name=...)"
    )


def _remember(cls: type[DomainEvent], where: str) -> None:
    if len(cls.event_name) > MAX_NAME:
        raise DefinitionError(f"{where}: its name has {len(cls.event_name)} characters, at most {MAX_NAME} are stored")
    other = _events.get(cls.event_name)
    if other is not None and _generic(other) is _generic(cls):
        if other.__pydantic_generic_metadata__["args"]:
            _ambiguous.setdefault(cls.event_name, f"{other.__name__} and {cls.__name__} ({cls.defined_at})")
    elif other is not None and not replaces(cls._origin, other._origin, f"event {cls.event_name!r}"):
        raise DefinitionError(
            f"two events are named {cls.event_name!r}: {other.__name__} ({other.defined_at}) and "
            f"{cls.__name__} ({cls.defined_at}); give one of them name=..."
        )
    else:
        _ambiguous.pop(cls.event_name, None)
    _events[cls.event_name] = cls


def _generic(cls: type[DomainEvent]) -> type[BaseModel]:
    return cls.__pydantic_generic_metadata__["origin"] or cls


def _place_of(cls: type) -> str:
    """Where the class statement stands, as file:line: found on the stack, since a class keeps no line number."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == cls.__module__ and frame.f_code.co_filename != __file__:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return cls.__module__
