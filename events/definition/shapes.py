"""How types with fields look in JSON: models, dataclasses (pydantic's and Python's), and TypedDicts.

A dataclass of the standard library, or a TypedDict, has the config of the class around it, and so its aliases, unless
it has one of its own (`__pydantic_config__`).
"""

import dataclasses
import inspect
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import AliasGenerator, BaseModel
from pydantic.fields import FieldInfo

from events.definition.declaration import keys_of, keys_of_aliases

_QUALIFIERS = ("Required", "NotRequired", "ReadOnly", "Final")  # typing's or those of typing_extensions


@dataclass(frozen=True, slots=True)
class Shape:
    """A type with fields.

    Attributes:
        fields: by name, the JSON keys that each may have, and its type.
        config: pydantic's config, which the values of its fields inherit.
    """

    fields: Mapping[str, tuple[tuple[str, ...], Any]]
    config: Mapping[str, Any]


def has_fields(kind: Any) -> bool:
    return isinstance(kind, type) and (
        issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind) or hasattr(kind, "__total__")
    )


def of(hint: Any, config: Mapping[str, Any]) -> Shape | None:
    """The shape of a type; None if it has no fields, or is unknown. `config`: that of the class around it."""
    kind = typing.get_origin(hint) or hint
    if not has_fields(kind):
        return None
    if issubclass(kind, BaseModel):
        fields = kind.model_fields.items()
        return Shape({name: ((name, *keys_of(field)), hint_of(field)) for name, field in fields}, kind.model_config)
    own = getattr(kind, "__pydantic_config__", None)
    within = own or config  # a pydantic dataclass without a config has an empty one
    generators = [one["alias_generator"] for one in (own, config) if one and one.get("alias_generator")]
    arguments = dict(zip(getattr(kind, "__parameters__", ()), typing.get_args(hint), strict=False))
    found = {}
    for name, (said, type_of_it) in _declared(kind).items():
        aliases = [key for generator in generators for key in _generated(generator, name)]
        keys = tuple(dict.fromkeys((name, *said, *aliases)))
        found[name] = (keys, filled(type_of_it, arguments))
    return Shape(found, within)


def hint_of(field: FieldInfo) -> Any:
    """The field's type with its Annotated metadata, which may change how the value is written."""
    return typing.Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def filled(hint: Any, arguments: Mapping[Any, Any]) -> Any:
    """A generic type with its type variables replaced, as far as their values are known."""
    if isinstance(hint, typing.TypeVar):
        return arguments.get(hint, hint)
    wanted = () if isinstance(hint, type) else getattr(hint, "__parameters__", ())
    return hint[tuple(arguments.get(one, one) for one in wanted)] if wanted and arguments else hint


def _declared(kind: type) -> dict[str, tuple[list[str], Any]]:
    """The fields of a dataclass or a TypedDict: declared aliases, and types."""
    found: dict[str, tuple[list[str], Any]] = {}
    known = getattr(kind, "__pydantic_fields__", None)
    if isinstance(known, dict):  # a dataclass of pydantic's
        return {name: (list(keys_of(field)), hint_of(field)) for name, field in known.items()}
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except Exception:  # names that are not defined yet, or are local
        hints = {name: Any for one in reversed(kind.__mro__) for name in inspect.get_annotations(one)}
    fields = {field.name: field for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}
    for name, hint in hints.items():
        said = [key for info in _infos(hint) for key in keys_of(info)]
        default: Any = fields[name].default if name in fields else None
        if isinstance(default, FieldInfo):  # `number: str = Field(alias=...)`
            said += keys_of(default)
        found[name] = (said, hint)
    return found


def _infos(hint: Any) -> Iterator[FieldInfo]:
    """The Field() infos in Annotated, also within NotRequired and the like."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        yield from (one for one in arguments[1:] if isinstance(one, FieldInfo))
        yield from _infos(arguments[0])
    elif str(origin).rpartition(".")[2] in _QUALIFIERS and arguments:  # such as typing.Required
        yield from _infos(arguments[0])


def _generated(generator: Any, name: str) -> Iterator[str]:
    aliases = generator.generate_aliases(name) if isinstance(generator, AliasGenerator) else (generator(name),)
    return keys_of_aliases(*aliases)
