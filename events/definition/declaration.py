"""Refuses, when an event's class is made, fields and attributes that would be taken for something else."""

import dataclasses
import inspect
import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import AliasChoices, AliasPath, BaseModel, FutureDate, FutureDatetime
from pydantic.fields import FieldInfo

from events.errors import DefinitionError

AGGREGATE = "aggregate_id"
_ARGUMENTS = {
    "event_name": "name=...",
    "schema_version": "version=...",
    "aggregate_field": "aggregate_id=...",
    "masked_fields": "masked=...",
}


def check_attributes(cls: type[BaseModel], base: type[BaseModel], where: str) -> None:
    """Check a class before pydantic knows its fields.

    Args:
        base: the class of all events.
    Raises:
        DefinitionError: an attribute has the name of one that every event has.
    """
    where = f"event {cls.__name__} ({where})"
    ours = _names_of(base) | {name for kind in cls.__mro__ if _is_ours(kind) for name in _names_of(kind)}
    for kind in _bases(cls, base):
        declared = inspect.get_annotations(kind)
        finished = "defined_at" in vars(kind)  # a class of events: we have set what is told by class arguments
        for name in {**dict.fromkeys(declared), **dict.fromkeys(() if finished else vars(kind))}:
            if name in declared and name.startswith("model_") and name != "model_config" and hasattr(BaseModel, name):
                raise DefinitionError(f"{where} declares {name!r}, which every pydantic model has; rename the field")
            if name not in ours or (name == "upcast" and name not in declared):
                continue
            cure = "rename the field" if name in base.model_fields or name in declared else "rename it"
            if name in _ARGUMENTS and name not in declared:
                cure = f"it is said by a class argument: class {cls.__name__}(..., {_ARGUMENTS[name]})"
            raise DefinitionError(f"{where} declares {name!r}, which every event has already; {cure}")
    its_id = inspect.getattr_static(cls, AGGREGATE, None)
    if inspect.isroutine(its_id) or isinstance(its_id, classmethod | staticmethod):
        raise DefinitionError(f"{where}: aggregate_id is read and not called; write @property above it")
    if not isinstance(inspect.getattr_static(cls, "upcast"), classmethod):
        raise DefinitionError(f"{where}: upcast is called on the class; write @classmethod above it")


def check_fields(cls: type[BaseModel], base: type[BaseModel], where: str) -> None:
    """Raises DefinitionError if two fields are read from one JSON key, or a field can't be read back at all."""
    if cls.model_config.get("extra") == "allow":
        raise DefinitionError(
            f"{where} says extra='allow', but of a stored event only declared fields are read; "
            f"declare a field for the rest: details: dict[str, str]"
        )
    owners: dict[str, str] = {}
    for name, field in cls.model_fields.items():
        if name not in base.model_fields and hasattr(base, name) and not hasattr(BaseModel, name):
            raise DefinitionError(f"{where} declares {name!r}, which every event has already; rename the field")
        if field.exclude:
            raise DefinitionError(
                f"{where}: field {name!r} says exclude=True, so it would not be stored; "
                f"leave that out, and say masked={name!r} if nobody shall see it"
            )
        if any(part in (FutureDate, FutureDatetime) for part in _parts([field.annotation, field.metadata], set())):
            raise DefinitionError(
                f"{where}: field {name!r} has to be in the future, and isn't any more when a handler gets it late; "
                f"check that where the event is made"
            )
        for key in {name, *keys_of(field)}:
            if (other := owners.setdefault(key, name)) != name:
                raise DefinitionError(
                    f"{where}: {key!r} means field {other!r} as well as field {name!r}, so that an event can't be "
                    f"read; rename the field or its alias"
                )


def _parts(hints: Iterable[Any], seen: set[type]) -> Iterator[Any]:
    """The annotations, and the types that they are made of; a class in `seen` is not opened again."""
    for hint in hints:
        yield hint
        if isinstance(hint, type) and hint not in seen:
            seen.add(hint)
            yield from _parts(_hints_of(hint), seen)
        yield from _parts(hint if isinstance(hint, list) else typing.get_args(hint), seen)


def _hints_of(kind: type) -> list[Any]:
    """The annotations of the fields of a model, a dataclass, a TypedDict or a named tuple."""
    if issubclass(kind, BaseModel):
        return [part for field in kind.model_fields.values() for part in (field.annotation, *field.metadata)]
    if not (dataclasses.is_dataclass(kind) or hasattr(kind, "__total__") or hasattr(kind, "_fields")):
        return []
    try:
        return list(typing.get_type_hints(kind, include_extras=True).values())
    except Exception:  # names that are not defined yet
        return []


def aggregate_field(cls: type[BaseModel], said: str | None, own: Sequence[str], where: str) -> str | None:
    """The field that holds the aggregate's id. `said`: the field that this very class names.

    Raises:
        DefinitionError: there is no such field, or another field is named `aggregate_id`.
    """
    inherited: str | None = getattr(cls, "aggregate_field", None)
    chosen = said if said is not None else inherited
    if AGGREGATE in own and chosen is None:
        return AGGREGATE
    if chosen is not None and chosen not in cls.model_fields:
        raise DefinitionError(
            f"{where} says aggregate_id={chosen!r}, but has no such field; its fields: {', '.join(own) or 'none'}"
        )
    if AGGREGATE in own and chosen != AGGREGATE:
        raise DefinitionError(
            f"{where} has a field 'aggregate_id', and says that the aggregate's id is in {chosen!r}; rename the field"
        )
    return chosen


def _bases(cls: type, base: type) -> Iterator[type]:
    """The class, and its bases other than those of this package."""
    return (kind for kind in cls.__mro__ if not issubclass(base, kind) and not _is_ours(kind))


def _is_ours(kind: type) -> bool:
    return kind.__module__ == "events.integration"


def _names_of(kind: type) -> set[str]:
    """The names that a class of this package gives to events."""
    names = {*vars(kind), *inspect.get_annotations(kind)}
    return {name for name in names if not name.startswith(("__", "model_", "_abc_"))}


def keys_of(field: FieldInfo) -> Iterator[str]:
    """All keys that the field's value may have in JSON."""
    return keys_of_aliases(field.alias, field.validation_alias, field.serialization_alias)


def keys_of_aliases(*aliases: Any) -> Iterator[str]:
    """All keys that these aliases stand for; an alias may be None."""
    for alias in aliases:
        choices: Sequence[Any] = alias.choices if isinstance(alias, AliasChoices) else (alias,)
        for one in choices:
            if isinstance(one, AliasPath):
                yield str(one.path[0])
            elif one is not None:
                yield one
