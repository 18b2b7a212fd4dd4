"""Text and JSON that every database takes: without NUL, half surrogate pairs, and numbers that JSON has no words for.

For what is kept of others' messages and errors: it is written down as well as it can be, never refused.
"""

import json
import math
from typing import Any


def storable(text: str) -> str:
    """What no database takes becomes an escape that people can read."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


def storable_json(value: Any) -> str:
    """The JSON text of what was JSON, more or less."""
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
