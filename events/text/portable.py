"""Text and JSON that every database stores: without NUL, half surrogate pairs, and numbers that JSON doesn't have.

For messages and errors of others: they are stored as well as they can be, and never refused.
"""

import json
import math
from typing import Any


def storable(text: str) -> str:
    """The text, with an escape that people can read for each character that some database refuses."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


def storable_json(value: Any) -> str:
    """The value as JSON text, with such escapes."""
    return json.dumps(_each(value), allow_nan=False)


def _each(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {storable(str(name)): _each(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_each(one) for one in value]
    return value
