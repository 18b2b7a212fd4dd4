"""Decides whether a value comes back from the ledger as it went in: equal, and of the same type.

pydantic's `==` is not enough: it takes 1 for True and 1.0, and compares the values within models in the same way.
A value that JSON can't express is named by its path, with the cure.
"""

import dataclasses
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel, SecretBytes, SecretStr

_SHOWN = 200  # the most characters of a value that an error shows
_KINDS = 1000  # the most types for which the function that compares them is remembered
_TEXTS = (str, bytes, int, float)  # a value of a subclass of these may come back as a value of the base class


class Difference(NamedTuple):
    """The place where two values differ, and the two values."""

    path: tuple[str, ...]
    before: Any
    after: Any

    @property
    def place(self) -> str:
        return ".".join(self.path)

    def said(self, *, hidden: bool) -> str:
        """Say what would happen and what to do; `hidden`: without the values."""
        if hidden or isinstance(self.before, SecretStr | SecretBytes):
            return f"its {type(self.before).__name__} comes back changed; {_cure(self.before, self.after)}"
        return f"{shown(self.before)} comes back as {shown(self.after)}; {_cure(self.before, self.after)}"


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


ABSENT = _Absent()


def difference(before: Any, after: Any, path: tuple[str, ...] = ()) -> Difference | None:
    """Return the first place where `after` differs from `before`; None if there is none."""
    kind = type(before)
    if kind is not type(after):
        if isinstance(before, _TEXTS) and not isinstance(before, bool) and _is_base(type(after), kind):
            # A member of an enum is more than its value; codec handles fields that want the value alone.
            same = before == after and not isinstance(before, Enum)
            return None if same else Difference(path, before, after)
        if isinstance(before, datetime) and isinstance(after, datetime) and _same_moment(before, after):
            return None
        return Difference(path, before, after)
    compare = _COMPARED.get(kind)
    if compare is None:
        compare = next((found for base, found in _FAMILIES if isinstance(before, base)), None)
        if compare is None:
            compare = _fields_of_dataclass if dataclasses.is_dataclass(before) else _plainly
        if len(_COMPARED) < _KINDS:
            _COMPARED[kind] = compare
    return compare(before, after, path)


def fields_differ(before: BaseModel, after: BaseModel) -> Difference | None:
    """Like `difference`, for two models whose classes need not be the same."""
    kind = type(before)
    names = _NAMES.get(kind)
    if names is None:
        names = tuple(kind.model_fields)
        if len(_NAMES) < _KINDS:
            _NAMES[kind] = names
    ours, theirs = before.__dict__, after.__dict__
    for name in names:
        old, new = ours.get(name, ABSENT), theirs.get(name, ABSENT)
        if old is new or ((kind := type(old)) is type(new) and kind in _EXACT and old == new):
            continue  # most fields end here; this code runs at each publish
        if found := difference(old, new, (name,)):
            return found
    if len(ours) > len(names):  # a misspelt model_copy(update=...); what the class has a name for is a cached property
        for name in ours:
            if name not in names and not hasattr(type(before), name):
                return Difference((name,), ours[name], ABSENT)
    extra, private = before.__pydantic_extra__, before.__pydantic_private__
    if extra or after.__pydantic_extra__:
        found = _mapping(extra or {}, after.__pydantic_extra__ or {}, ())
        if found:
            return found
    if private or after.__pydantic_private__:
        return _mapping(private or {}, after.__pydantic_private__ or {}, ())
    return None


def shown(value: object) -> str:
    """Return a value as text for an error."""
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text):,} characters)"


def _is_base(base: type, kind: type) -> bool:
    return base in _TEXTS and issubclass(kind, base)


def _plainly(before: Any, after: Any, path: tuple[str, ...]) -> Difference | None:
    try:
        equal = before is after or bool(before == after)
    except Exception:  # for example, the comparison of arrays returns an array
        equal = False
    return None if equal else Difference(path, before, after)


def _number(before: float, after: float, path: tuple[str, ...]) -> Difference | None:
    equal = before == after or (math.isnan(before) and math.isnan(after))
    return None if equal else Difference(path, before, after)


def _complex(before: complex, after: complex, path: tuple[str, ...]) -> Difference | None:
    wrong = _number(before.real, after.real, path) or _number(before.imag, after.imag, path)
    return Difference(path, before, after) if wrong else None


def _decimal(before: Decimal, after: Decimal, path: tuple[str, ...]) -> Difference | None:
    return None if before.as_tuple() == after.as_tuple() else Difference(path, before, after)  # 1.10 is not 1.1


def _moment(before: datetime, after: datetime, path: tuple[str, ...]) -> Difference | None:
    return None if _same_moment(before, after) else Difference(path, before, after)


def _clock(before: time, after: time, path: tuple[str, ...]) -> Difference | None:
    """Compare times. `==` takes a time of a zone whose offset depends on the day for a time without a zone."""
    same = before == after and before.fold == after.fold and (before.tzinfo is None) == (after.tzinfo is None)
    return None if same else Difference(path, before, after)


def _same_moment(before: datetime, after: datetime) -> bool:
    """Compare clock and offset: for Python, no two times are equal in the hour that comes twice in autumn."""
    if before.tzinfo is after.tzinfo is UTC:
        return before == after
    return (
        before.replace(tzinfo=None, fold=0) == after.replace(tzinfo=None, fold=0)
        and before.utcoffset() == after.utcoffset()
    )


def _row(before: Sequence[Any], after: Sequence[Any], path: tuple[str, ...]) -> Difference | None:
    if len(before) != len(after) or getattr(before, "maxlen", None) != getattr(after, "maxlen", None):
        return Difference(path, before, after)
    for index, (one, other) in enumerate(zip(before, after, strict=True)):
        if (kind := type(one)) is type(other) and kind in _EXACT and one == other:
            continue
        if found := difference(one, other, (*path, str(index))):
            return found
    return None


def _set(before: Set[Any], after: Set[Any], path: tuple[str, ...]) -> Difference | None:
    theirs = {one: one for one in after}
    same = len(before) == len(after) and all(one in theirs and difference(one, theirs[one]) is None for one in before)
    return None if same else Difference(path, before, after)


def _mapping(before: Mapping[Any, Any], after: Mapping[Any, Any], path: tuple[str, ...]) -> Difference | None:
    keys = None if all(type(key) is str for key in before) else {key: key for key in after}
    for key, value in before.items():
        if key not in after:
            alike = next((other for other in after if str(other) == str(key)), ABSENT)
            return Difference((*path, str(key)), *((value, ABSENT) if alike is ABSENT else (key, alike)))
        if keys is not None and difference(key, keys[key]):
            return Difference((*path, str(key)), key, keys[key])
        if found := difference(value, after[key], (*path, str(key))):
            return found
    added = next((key for key in after if key not in before), ABSENT) if len(before) != len(after) else ABSENT
    return None if added is ABSENT else Difference((*path, str(added)), ABSENT, after[added])


def _ordered(before: Mapping[Any, Any], after: Mapping[Any, Any], path: tuple[str, ...]) -> Difference | None:
    if len(before) > 1:  # PostgreSQL's jsonb has an order of its own
        return Difference(path, before, dict(after))
    return _mapping(before, after, path)


def _model(before: BaseModel, after: BaseModel, path: tuple[str, ...]) -> Difference | None:
    found = fields_differ(before, after)
    return found._replace(path=(*path, *found.path)) if found else None


def _fields_of_dataclass(before: Any, after: Any, path: tuple[str, ...]) -> Difference | None:
    names: Iterable[str] = [field.name for field in dataclasses.fields(before)]
    names = dict.fromkeys((*names, *getattr(before, "__dict__", ()), *getattr(after, "__dict__", ())))
    for name in names:
        if name.startswith("__pydantic"):
            continue
        if found := difference(getattr(before, name, ABSENT), getattr(after, name, ABSENT), (*path, name)):
            return found
    return None


_Compare = Callable[[Any, Any, tuple[str, ...]], Difference | None]
_NAMES: dict[type, tuple[str, ...]] = {}  # the names of the fields of models
# Equal values of one of these types are the same; no more need be compared.
_EXACT = {str, int, bool, bytes, type(None), UUID, date, timedelta}
_COMPARED: dict[type, _Compare] = {
    float: _number,
    complex: _complex,
    Decimal: _decimal,
    datetime: _moment,
    time: _clock,
    **dict.fromkeys((list, tuple, deque), _row),
    **dict.fromkeys((set, frozenset), _set),
    OrderedDict: _ordered,
    **dict.fromkeys((dict, MappingProxyType), _mapping),
    **dict.fromkeys(_EXACT, _plainly),
}
# Which function compares values of a subclass: the first base counts, so OrderedDict comes before dict.
_FAMILIES: tuple[tuple[type | tuple[type, ...], _Compare], ...] = (
    (BaseModel, _model),
    (datetime, _moment),
    (time, _clock),
    ((tuple, list, deque), _row),
    (OrderedDict, _ordered),
    (dict, _mapping),
    ((set, frozenset), _set),
    (float, _number),
    (Decimal, _decimal),
)


def _cure(before: Any, after: Any) -> str:
    if isinstance(before, SecretStr | SecretBytes):
        return "declare it as str or bytes, and let nobody see it by masked=(...)"
    if isinstance(before, BaseModel) and isinstance(after, BaseModel | dict):
        return (
            "declare the field as this very class, or as a union of classes that a Literal field tells apart "
            "(pydantic's discriminator)"
        )
    if after is ABSENT:
        return "what the class doesn't declare, and what is private or excluded, is not stored: declare it as a field"
    if isinstance(before, OrderedDict):
        return "PostgreSQL keeps no order of keys: use a dict, or a list of pairs"
    return (
        "declare the field as the type that it holds, one that JSON carries both ways (docs/events.md), or give it a "
        "serializer and a validator that undo each other"
    )
