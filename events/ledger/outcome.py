"""What became of an attempt, and of what went wrong in it as text that every database takes."""

import traceback
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import FrameType

from events.definition import LIBRARIES
from events.ledger.records import Failure
from events.text import redact, storable

_OURS = __name__.partition(".")[0]
_MAX_ERROR, _MAX_TRACEBACK = 4_000, 30_000  # characters kept of an error


class Outcome(StrEnum):
    """What became of one attempt."""

    SUCCEEDED = "succeeded"  # effects and outcome are committed
    RETRY = "retry"  # rolled back; the ledger holds the time of the next attempt
    HANDED_BACK = "handed back"  # not run, or undone; the attempt is not counted: it is sent again
    DEAD = "dead"  # rolled back; a dead letter
    UNKNOWN = "unknown"  # the ledger has no such delivery
    NOT_OURS = "not ours"  # done already, taken by another attempt, or lost to it: nothing was changed


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one attempt; `error` is what the handler raised, `due_in` the wait before the next attempt."""

    outcome: Outcome
    error: BaseException | None = None
    due_in: timedelta | None = None

    @property
    def summary(self) -> str:
        if self.error is None:
            return self.outcome.value
        return f"{self.outcome.value}: {described(self.error)[:500]}"


def described(error: BaseException) -> str:
    """Its class and its text."""
    return f"{type(error).__name__}: {_text_of(error)}"


def failure_of(error: BaseException, home: str = "", traceparent: str = "") -> Failure:
    """An exception as it is stored: text that every database takes, cut to size.

    Args:
        home: the module of the handler that it came from, whose package is the application's even if it is installed.
        traceparent: of the attempt's span.
    """
    name = _name_of(error)
    try:
        trace = redact("".join(traceback.format_exception(error)))
    except Exception:
        trace = f"{name}: (its traceback can't be printed)"
    if len(trace) > _MAX_TRACEBACK:
        half = _MAX_TRACEBACK // 2
        trace = f"{trace[:half]}\n... {len(trace) - 2 * half:,} characters left out ...\n{trace[-half:]}"
    return Failure(name[:255], _stored_text_of(error), storable(trace), _place_of(error, home)[:255], traceparent)


def failure_without_trace(error: BaseException) -> Failure:
    """The same of an error that says all in its text, such as one of our own that was made and never raised."""
    return Failure(_name_of(error)[:255], _stored_text_of(error), "")


def line_of(error: BaseException, home: str) -> str:
    """The innermost line of the application through which it came, as file:line; "" if through none. See failure_of."""
    found = _innermost(error, home)
    return f"{found[0].f_code.co_filename}:{found[1]}" if found else ""


def _place_of(error: BaseException, home: str) -> str:
    """Without its line, which moves with each change."""
    found = _innermost(error, home)
    return f"{found[0].f_globals.get('__name__', '')}.{found[0].f_code.co_qualname}" if found else ""


def _innermost(error: BaseException, home: str) -> tuple[FrameType, int] | None:
    """The innermost frame that is the application's, and the line in it."""
    application = home.partition(".")[0]
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package == application or (package != _OURS and not frame.f_code.co_filename.startswith(LIBRARIES)):
            found = frame, line
    return found


def _name_of(error: BaseException) -> str:
    """Of its class, as it is stored: with the module, if it is not a builtin."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _stored_text_of(error: BaseException) -> str:
    return storable(_text_of(error)[:_MAX_ERROR])[:_MAX_ERROR]


def _text_of(error: BaseException) -> str:
    try:
        return redact(str(error))
    except Exception:
        return "(its text can't be printed)"
