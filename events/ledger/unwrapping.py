"""Data that is JSON twice: an ORM, or a client, was given an event as JSON text and made a JSON string of it."""

import json
from typing import Any


def unwrapped(data: str) -> str:
    """The JSON object that a JSON string holds, as text; whatever else `data` is, as it is."""
    inner = data.strip()
    while inner.startswith('"'):
        try:
            inner = str(json.loads(inner)).strip()
        except ValueError:
            return data
        if inner.startswith("{"):  # half a surrogate pair is written as JSON writes it, for else nobody could print it
            return inner.encode(errors="backslashreplace").decode()
    return data


def unwrapped_value(value: Any) -> Any:
    """The same of a JSON value that is parsed already: a text that holds an object becomes that object."""
    if not isinstance(value, str):
        return value
    try:
        inner = json.loads(unwrapped(value))
    except (ValueError, RecursionError):
        return value
    return inner if isinstance(inner, dict) else value
