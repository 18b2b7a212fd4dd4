"""The outcome of an attempt, and the error of a failed attempt as text that every database takes."""

import traceback
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import FrameType

from events.definition import LIBRARIES
from events.ledger.records import Failure
from events.text import redact, storable

_OURS = __name__.partition(".")[0]
_MAX_ERROR, _MAX_TRACEBACK = 4_000, 30_000  # the most characters of an error's text and of its traceback that are kept


class Outcome(StrEnum):
    """What an attempt led to."""

    SUCCEEDED = "succeeded"  # the effects of the handler and the outcome are committed
    RETRY = "retry"  # rolled back; the ledger holds the time of the next attempt
    # The attempt did not run, or was undone; it is not counted, and the delivery is sent again.
    HANDED_BACK = "handed back"
    DEAD = "dead"  # rolled back; the delivery is a dead letter
    UNKNOWN = "unknown"  # the ledger has no such delivery
    NOT_OURS = "not ours"  # the delivery is done already, or another attempt has taken it: nothing was changed


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one attempt; `error` is the error that the handler raised, `due_in` the wait before the next
    attempt.
    """

    outcome: Outcome
    error: BaseException | None = None
    due_in: timedelta | None = None

    @property
    def summary(self) -> str:
        if self.error is None:
            return self.outcome.value
        return f"{self.outcome.value}: {described(self.error)[:500]}"


def described(error: BaseException) -> str:
    """Return the error's class and its text."""
    return f"{type(error).__name__}: {_text_of(error)}"


def failure_of(error: BaseException, home: str = "", traceparent: str = "") -> Failure:
    """Return an exception as it is stored: as text that every database takes, cut to size.

    Args:
        home: the module of the handler that raised it. The package of this module belongs to the application, even if
            the package is installed among the libraries.
        traceparent: the traceparent of the attempt's span.
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
    """Return an error as it is stored, without a traceback: for errors of our own whose text says everything."""
    return Failure(_name_of(error)[:255], _stored_text_of(error), "")


def line_of(error: BaseException, home: str) -> str:
    """Return the innermost line of the application that the error came through, as file:line; "" if there is none.

    For `home` see failure_of.
    """
    innermost = _innermost(error, home)
    return f"{innermost[0].f_code.co_filename}:{innermost[1]}" if innermost else ""


def _place_of(error: BaseException, home: str) -> str:
    """Return the module and function of that line, without its number, which changes with each edit of the file."""
    innermost = _innermost(error, home)
    return f"{innermost[0].f_globals.get('__name__', '')}.{innermost[0].f_code.co_qualname}" if innermost else ""


def _innermost(error: BaseException, home: str) -> tuple[FrameType, int] | None:
    """Return the innermost frame of the application, and the line in it."""
    application = home.partition(".")[0]
    innermost = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package == application or (package != _OURS and not frame.f_code.co_filename.startswith(LIBRARIES)):
            innermost = frame, line
    return innermost


def _name_of(error: BaseException) -> str:
    """Return the name of the error's class as it is stored: with the module, unless the class is a builtin."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _stored_text_of(error: BaseException) -> str:
    return storable(_text_of(error)[:_MAX_ERROR])[:_MAX_ERROR]


def _text_of(error: BaseException) -> str:
    try:
        return redact(str(error))
    except Exception:
        return "(its text can't be printed)"
