"""What a mask may be called in stored and foreign data: `masked="card.number"` also hides `Karte.Nummer`, if these are
the aliases of those fields. Which of the two a row has depends on who wrote it."""

import dataclasses
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from events.declaration import keys_of
from events.errors import DefinitionError

_PLAIN = (str, bytes, int, float, bool, complex)  # and what is made of them: there is nothing within


def spellings(model: type[BaseModel], masks: Collection[str], own: Sequence[str], where: str) -> tuple[str, ...]:
    """The masks, and the same by aliases, of every level. `own`: names of its fields, for the error.

    Raises:
        DefinitionError: there is no such field, at any level. It begins with `where`.
    """
    found: dict[str, None] = {}
    for mask in masks:
        path = mask.split(".")
        ways = [".".join(keys) for keys in _within(model, path)]
        if not ways:
            raise DefinitionError(f"{where} says masked={mask!r}, but {_missing(model, path, own)}")
        found |= dict.fromkeys(ways)
    return tuple(found)


def _within(kind: Any, path: list[str]) -> Iterator[tuple[str, ...]]:
    """Each way to write the path below a value of that type; none if the type has no such field."""
    if not path:
        yield ()
        return
    for one in _kinds(kind):
        fields = _fields_of(one)
        if fields is None:
            yield from _below(one, path)
        elif path[0] in fields:
            keys, hint = fields[path[0]]
            for key, rest in product(keys, list(_within(hint, path[1:]))):
                yield (key, *rest)


def _below(kind: Any, path: list[str]) -> Iterator[tuple[str, ...]]:
    """Of what has no fields of its own: a mapping has any key, and of what is unknown nothing can be said."""
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if isinstance(origin, type) and issubclass(origin, Mapping) and len(arguments) == 2:
        for rest in _within(arguments[1], path[1:]):
            yield (path[0], *rest)
    elif not (isinstance(origin, type) and issubclass(origin, _PLAIN)) and origin is not type(None):
        yield tuple(path)


def _kinds(hint: Any) -> Iterator[Any]:
    """The types that a value may be of: through unions, Annotated and aliases, and what lists are of."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if type(hint).__name__ == "TypeAliasType":  # `type X = ...`
        yield from _kinds(hint.__value__)
    elif origin is typing.Annotated:
        yield from _kinds(arguments[0])
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield hint
    elif arguments and origin is not typing.Literal:
        for one in arguments:
            if one is not Ellipsis:
                yield from _kinds(one)
    elif isinstance(hint, typing.TypeVar):
        yield Any
    else:
        yield hint


def _fields_of(kind: Any) -> dict[str, tuple[tuple[str, ...], Any]] | None:
    """By their names: what each may be called, and its type. None for what is known to have none, or not known."""
    if not isinstance(kind, type):
        return None
    if issubclass(kind, BaseModel):
        return {name: _field(name, field) for name, field in kind.model_fields.items()}
    if isinstance(fields := getattr(kind, "__pydantic_fields__", None), dict):  # a dataclass of pydantic's
        return {name: _field(name, field) for name, field in fields.items()}
    if dataclasses.is_dataclass(kind) or hasattr(kind, "__total__") or hasattr(kind, "_fields"):
        try:
            hints = typing.get_type_hints(kind, include_extras=True)
        except Exception:  # names that are not defined yet
            return None
        return {name: ((name,), hint) for name, hint in hints.items()}
    return None


def _field(name: str, field: FieldInfo) -> tuple[tuple[str, ...], Any]:
    return tuple(dict.fromkeys((name, *keys_of(field)))), field.annotation


def _missing(model: type[BaseModel], path: list[str], own: Sequence[str]) -> str:
    """Which part of the path leads nowhere."""
    if path[0] not in model.model_fields:
        return f"has no such field; its fields: {', '.join(own) or 'none'}"
    end = next(end for end in range(1, len(path)) if not any(True for _ in _within(model, path[: end + 1])))
    return f"{'.'.join(path[:end])!r} has nothing named {path[end]!r}"
