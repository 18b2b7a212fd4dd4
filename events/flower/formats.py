"""How numbers, times and texts are written on the pages."""

import json
from datetime import UTC, datetime

from events.text import first_line as whole_first_line

NOTHING = "\N{EN DASH}"  # where there is no value


def count(value: int) -> str:
    return f"{value:,}"


def rate(value: float) -> str:
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def span(seconds: float | None) -> str:
    """A length of time, in the unit that people would use."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{seconds * 1000:,.0f} ms"
    for unit, size, limit in (("s", 1, 120), ("min", 60, 120 * 60), ("h", 3600, 48 * 3600)):
        if seconds < limit:
            return f"{seconds / size:.1f} s" if size == 1 and seconds < 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def pace(seconds: float | None) -> str:
    return NOTHING if seconds is None else f"{seconds * 1000:,.1f} ms"


def moment(value: datetime | None) -> str:
    """To the second, in UTC."""
    return NOTHING if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def exactly(value: datetime) -> str:
    """To the millisecond, for what happened in quick succession."""
    return value.astimezone(UTC).strftime("%H:%M:%S.%f")[:-3]


def ago(value: datetime | None) -> str:
    return "" if value is None else f"{span(max(0.0, (datetime.now(UTC) - value).total_seconds()))} ago"


def short_type(error_type: str) -> str:
    """The exception without its modules."""
    return error_type.rpartition(".")[2]


def first_line(text: str, most: int = 160) -> str:
    line = whole_first_line(text)
    return line if len(line) <= most else line[:most] + "…"


def pretty(text: str) -> str:
    """JSON with indents; as it is if a foreign program wrote what is none."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def plural(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
