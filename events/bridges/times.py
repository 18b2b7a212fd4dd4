"""Reads the time of an event as another program writes it."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from events.bridges.forms import WRONG
from events.errors import Unacceptable

_MILLISECONDS = re.compile("1[0-9]{12}")  # as text: times from 2001 to 2033
_RUN_TOGETHER = re.compile("[0-9]{9}|[0-9]{4}-[0-9]{2}-[0-9]{3}")  # a date and a time, without a sign between them
_YEAR_1973, _YEAR_2099 = 1e11, 4.1e12  # in milliseconds: a smaller number is in seconds, or no time
_OF_DIGITS = (1.9e11, 2.1e11)  # such as 202401011200, which as milliseconds would be in 1976
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_of(given: Any) -> datetime:
    """A time in ISO 8601, or in milliseconds since 1970 as in JavaScript; the time now, if `given` is "".

    Raises:
        Unacceptable: the value is neither.
    """
    if given == "":
        return datetime.now(UTC)
    try:
        if isinstance(given, str) and not _MILLISECONDS.fullmatch(given):
            if _RUN_TOGETHER.match(given):
                raise ValueError(given)
            time = datetime.fromisoformat(given)
            return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
        if isinstance(given, str | int | float) and _are_milliseconds(float(given)):
            return _EPOCH + timedelta(milliseconds=float(given))
    except (ValueError, OverflowError):
        pass
    seconds = isinstance(given, int | float) and not isinstance(given, bool) and 0 < given < _YEAR_1973
    cure = "; is it in seconds?" if seconds else ""
    raise Unacceptable(WRONG, f"its time is neither ISO 8601 nor milliseconds since 1970: {str(given)[:100]!r}{cure}")


def _are_milliseconds(given: float) -> bool:
    """Whether a number is milliseconds since 1970, and not a date written as a number, which means another time."""
    return _YEAR_1973 <= given <= _YEAR_2099 and not _OF_DIGITS[0] <= given < _OF_DIGITS[1]
