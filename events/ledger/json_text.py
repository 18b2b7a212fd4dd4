"""Puts JSON texts together, and searches them, without parsing them: this code runs at each publish and each read."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache

NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_EXPONENT = re.compile(r"[:,\[]-?\d+(?:\.\d+)?[eE]")  # in compact JSON; a match may be inside a text
_TEXT_OR_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?[eE][+-]?\d+')


def merged(left: str, right: str) -> str:
    """Return one JSON object with the members of both, given as texts of JSON objects in any spacing.

    If both have a member of the same name, the value in `right` counts: it comes last, and all our readers take the
    last.
    """
    begin, rest = left.rstrip()[:-1], right.lstrip()[1:]
    comma = "" if begin.rstrip()[-1] == "{" or rest.lstrip()[0] == "}" else ","  # no comma if one of them is empty
    return f"{begin}{comma}{rest}"


def object_of(values: Mapping[str, str]) -> str:
    """Return the JSON object with these members; the values are JSON texts already."""
    return f"{{{','.join([f'{_quoted(name)}:{value}' for name, value in values.items()])}}}"


@lru_cache(1000)
def _quoted(name: str) -> str:
    return json.dumps(name)


def plain_numbers(text: str) -> str:
    """Return compact JSON without exponents: jsonb writes 1e16 as 10000000000000000, which reads like an int."""
    if not _EXPONENT.search(text):
        return text
    return _TEXT_OR_NUMBER.sub(lambda found: found[0] if found[0][0] == '"' else _plain_number(found[0]), text)


def _plain_number(token: str) -> str:
    plain = f"{Decimal(token):f}"
    return plain if "." in plain else f"{plain}.0"
