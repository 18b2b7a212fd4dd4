"""The keys that a masked field may have in stored and foreign data: `masked="card.number"` also hides `Karte.Nummer`,
if these are the aliases of those fields. Which of the two stands in a row depends on the program that wrote the row.

A mask that could hide nothing is refused: it names a value that is not the field of an object in JSON.
"""

import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from itertools import product
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Json, RootModel

from events.definition import shapes
from events.errors import DefinitionError

_PLAIN = (str, bytes, int, float, bool, complex, Decimal, date, time, timedelta, UUID)  # they have no fields
_JSON: Any = Json


class _NoWayIn(Exception):
    """A value that has parts, but is not written as an object. `what`: the form in which it is written."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(what)


def spellings(model: type[BaseModel], masks: Collection[str], own: Sequence[str], where: str) -> tuple[str, ...]:
    """The masks, as field names and as aliases, on every level. `own`: names of the fields, for the error.

    Raises:
        DefinitionError: a level has no such field, or the field can't be hidden alone. It begins with `where`.
    """
    found: dict[str, None] = {}
    for mask in masks:
        path = mask.split(".")
        try:
            ways = [".".join(keys) for keys in _within(model, path, {})]
        except _NoWayIn as error:
            whole = ".".join(path[: _depth(model, path)])
            raise DefinitionError(
                f"{where} says masked={mask!r}, but in {whole!r} nothing can be hidden by its name, as it is stored as "
                f"{error.what}; mask the whole field: masked={whole!r}"
            ) from None
        if not ways:
            raise DefinitionError(f"{where} says masked={mask!r}, but {_missing(model, path, own)}")
        found |= dict.fromkeys(ways)
    return tuple(found)


def _within(hint: Any, path: list[str], config: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The ways to write the path below a value of that type; none if the type has no such field.

    `config`: pydantic's, of the class around it. Raises _NoWayIn.
    """
    if not path:
        yield ()
        return
    for kind, around in _kinds(hint, config):
        shape = shapes.of(kind, around)
        if shape is None:
            yield from _below(kind, path, around)
        elif path[0] in shape.fields:
            keys, inner = shape.fields[path[0]]
            for key, rest in product(keys, list(_within(inner, path[1:], shape.config))):
                yield (key, *rest)


def _below(kind: Any, path: list[str], config: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The same for a type without fields of its own: a mapping has any key, of an unknown type nothing is known."""
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if isinstance(origin, type) and issubclass(origin, Mapping) and len(arguments) == 2:
        for rest in _within(arguments[1], path[1:], config):
            yield (path[0], *rest)
    elif not (isinstance(origin, type) and issubclass(origin, _PLAIN)) and origin is not type(None):
        yield tuple(path)


def _kinds(hint: Any, config: Mapping[str, Any], seen: tuple[Any, ...] = ()) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """The types that a value may have, and the config around each.

    Unions, Annotated, aliases, lists and root models are opened. `seen`: the types around, as in a tree of lists.
    """
    if hint in seen:
        return
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    kind = origin or hint
    inner: list[Any] = []
    if type(kind).__name__ == "TypeAliasType":  # `type X = ...`
        inner = [shapes.filled(kind.__value__, dict(zip(kind.__type_params__, arguments, strict=False)))]
    elif hasattr(hint, "__supertype__"):  # a NewType
        inner = [hint.__supertype__]
    elif origin is typing.Annotated:
        if any(_is_json(one) for one in arguments[1:]):
            raise _NoWayIn("a string of JSON")
        inner = [arguments[0]]
    elif _is_json(hint):
        raise _NoWayIn("a string of JSON")
    elif isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        raise _NoWayIn("a list, which has no names (a named tuple)")
    elif isinstance(kind, type) and issubclass(kind, RootModel):
        inner, config = [shapes.hint_of(kind.model_fields["root"])], kind.model_config
    elif (isinstance(kind, type) and issubclass(kind, Mapping)) or shapes.has_fields(kind):
        yield hint, config
    elif arguments and origin is not typing.Literal:
        inner = [one for one in arguments if one is not Ellipsis]
    elif isinstance(hint, typing.TypeVar):  # any type, or one of its constraints
        yield Any, config
        inner = [one for one in (hint.__bound__, *hint.__constraints__) if one is not None]
    else:
        yield hint, config
    for one in inner:
        yield from _kinds(one, config, (*seen, hint))


def _is_json(hint: Any) -> bool:
    return hint is _JSON or isinstance(hint, _JSON)


def _depth(model: type[BaseModel], path: list[str]) -> int:
    """How many parts of the path exist, before the one that doesn't."""
    for end in range(1, len(path)):
        try:
            list(_within(model, path[: end + 1], {}))
        except _NoWayIn:
            return end
    return len(path)


def _missing(model: type[BaseModel], path: list[str], own: Sequence[str]) -> str:
    """The part of the path that doesn't exist."""
    if path[0] not in model.model_fields:
        return f"has no such field; its fields: {', '.join(own) or 'none'}"
    end = next(end for end in range(1, len(path)) if not any(True for _ in _within(model, path[: end + 1], {})))
    return f"{'.'.join(path[:end])!r} has nothing named {path[end]!r}"
