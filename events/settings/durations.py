"""Lengths of time as people write them: `500ms`, `30s`, `5m`, `1h`, `7d`, or a number of seconds."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator

_LONGEST = timedelta(days=36_500)
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}  # seconds


def duration(value: Any) -> timedelta:
    """A length of time from a setting or an option; ValueError, with the cure, if it is none."""
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)\s*", str(value))
        if match is None:
            raise ValueError("use a number of seconds, or one with a unit: 500ms, 30s, 5m, 1h, 30d")
        seconds = float(match[1]) * _UNITS[match[2]]
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"use a time of {_LONGEST.days:,} days at most")
    if seconds <= 0:
        raise ValueError("use a time above zero, such as 30s")
    return timedelta(seconds=seconds)


Duration = Annotated[timedelta, BeforeValidator(duration)]
