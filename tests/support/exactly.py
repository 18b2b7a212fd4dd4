"""A value as text that tells it from every other one: equality that sees types, for the judge of a round trip."""

import dataclasses
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime, time
from enum import Enum
from typing import Any

from pydantic import BaseModel


def exactly(value: Any) -> str:
    """Equal texts, equal values. What has no sign, no order or no name to it in any database has none here."""
    name = type(value).__qualname__
    if isinstance(value, BaseModel):
        generic = value.__pydantic_generic_metadata__["origin"] or type(value)
        parts = [dict(value), value.__pydantic_extra__ or {}, value.__pydantic_private__ or {}]
        return f"{generic.__qualname__}{exactly(parts)}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return f"{name}{exactly({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})}"
    if isinstance(value, Mapping):
        return f"{name}{sorted(f'{exactly(key)}: {exactly(one)}' for key, one in value.items())}"
    if isinstance(value, AbstractSet):
        return f"{name}{sorted(map(exactly, value))}"
    if isinstance(value, list | tuple) or name == "deque":
        return f"{name}[{', '.join(map(exactly, value))}]"
    if isinstance(value, datetime | time):
        return value.isoformat()  # whatever names its offset
    if isinstance(value, complex):
        return f"{name} {exactly(value.real)} {exactly(value.imag)}"
    if isinstance(value, float) and value == 0:
        return "float 0.0"
    for base in (str, int, float, bytes):  # a subclass may come back as the base that it is
        if isinstance(value, base) and not isinstance(value, bool | Enum):
            return f"{base.__name__} {base.__repr__(value)}"
    return f"{name} {value!r}"
