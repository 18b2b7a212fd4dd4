"""A time as people write it, at a shell or in a form."""

from datetime import UTC, datetime

from events.settings import duration


def parse_time(text: str) -> datetime:
    """ISO 8601, UTC unless it says otherwise, or how long ago, such as 2h or 7d; ValueError, with the cure, if neither.

    A form of a browser knows no time zone: it is UTC, too.
    """
    try:
        return datetime.now(UTC) - duration(text)
    except (ValueError, OverflowError):
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: say how long ago (90s, 2h, 7d) or when (2026-01-31T08:00)") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
