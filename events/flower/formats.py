"""How the pages write numbers, times and texts."""

import json
from datetime import UTC, datetime

from events.text import first_line as whole_first_line
from events.text import plural

__all__ = [
    "ago",
    "count",
    "first_line",
    "pace",
    "plural",
    "pretty",
    "rate",
    "short_type",
    "shown_exactly",
    "shown_time",
    "span",
]

NOTHING = "\N{EN DASH}"  # where there is no value


def count(value: int) -> str:
    """The number, with separators."""
    return f"{value:,}"


def rate(value: float) -> str:
    """A number per second."""
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def span(seconds: float | None) -> str:
    """A length of time, in the unit that people would use; NOTHING for None."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{seconds * 1000:,.0f} ms"
    for unit, size, limit in (("s", 1, 120), ("min", 60, 120 * 60), ("h", 3600, 48 * 3600)):
        if seconds < limit:
            return f"{seconds / size:.1f} s" if size == 1 and seconds < 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def pace(seconds: float | None) -> str:
    """How long a handler takes, in milliseconds; NOTHING for None."""
    return NOTHING if seconds is None else f"{seconds * 1000:,.1f} ms"


def shown_time(value: datetime | None) -> str:
    """A time to the second, in UTC; NOTHING for None."""
    return NOTHING if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def shown_exactly(value: datetime) -> str:
    """A time of day to the millisecond, in UTC: entries of a timeline follow each other quickly."""
    return value.astimezone(UTC).strftime("%H:%M:%S.%f")[:-3]


def ago(value: datetime | None) -> str:
    """For how long a time is past; "" for None."""
    return "" if value is None else f"{span(max(0.0, (datetime.now(UTC) - value).total_seconds()))} ago"


def short_type(error_type: str) -> str:
    """The exception's name without its module."""
    return error_type.rpartition(".")[2]


def first_line(text: str, most: int = 160) -> str:
    """The first line of a text, cut after `most` characters."""
    line = whole_first_line(text)
    return line if len(line) <= most else line[:most] + "…"


def pretty(text: str) -> str:
    """JSON with indents; the text itself, if another program wrote text that is not JSON."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text
