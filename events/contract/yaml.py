"""YAML, as much of it as plain data needs: blocks for people to read, and JSON's own way to write texts and numbers.

YAML 1.2 has all of JSON in it, so that no parser can take a text for something else.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_$][\w$-]*\Z")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}  # which older parsers take for values


def as_yaml(value: Any) -> str:
    """A document of dicts, lists, texts, numbers, booleans and None."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from _entry(f"{_key(key)}:", one)
    elif isinstance(value, list) and value:
        for one in value:
            lines = list(_lines(one))
            yield f"- {lines[0]}"
            yield from (f"  {line}" for line in lines[1:])
    else:
        yield json.dumps(value, ensure_ascii=False)


def _entry(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, (dict, list)) and value:
        yield key
        yield from (f"  {line}" for line in _lines(value))
    else:
        yield f"{key} {json.dumps(value, ensure_ascii=False)}"


def _key(key: str) -> str:
    return key if _PLAIN.match(key) and key.lower() not in _WORDS else json.dumps(key, ensure_ascii=False)
