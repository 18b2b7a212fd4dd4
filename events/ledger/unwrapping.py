"""Data that is JSON twice: an ORM, or a client, was given an event as JSON text and made a JSON string of the text."""

import json
from typing import Any


def unwrapped(data: str) -> str:
    """Return the JSON object that a JSON string holds, as text; any other `data` as it is."""
    inner = data.strip()
    while inner.startswith('"'):
        try:
            inner = str(json.loads(inner)).strip()
        except ValueError:
            return data
        if inner.startswith("{"):  # half a surrogate pair stays escaped, since it can't be printed
            return inner.encode(errors="backslashreplace").decode()
    return data


def unwrapped_value(value: Any) -> Any:
    """Return a parsed JSON value; if it is a text that holds a JSON object, that object."""
    if not isinstance(value, str):
        return value
    try:
        inner = json.loads(unwrapped(value))
    except (ValueError, RecursionError):
        return value
    return inner if isinstance(inner, dict) else value
