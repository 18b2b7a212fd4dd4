"""Reads a time as people write it, at a shell or in a form."""

from datetime import UTC, datetime

from events.settings import duration


def parse_time(text: str) -> datetime:
    """The time that a text means: ISO 8601, or how long ago, such as 2h or 7d.

    A time without a zone is UTC; the forms of browsers have none.

    Raises:
        ValueError: the text is neither; the message says how to write a time.
    """
    try:
        return datetime.now(UTC) - duration(text)
    except (ValueError, OverflowError):
        pass
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: say how long ago (90s, 2h, 7d) or when (2026-01-31T08:00)") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
