"""What a check reports."""

from dataclasses import dataclass
from enum import StrEnum

from events.text import brief, redact


class Level(StrEnum):
    """Errors break the promise, or will; warnings cost speed, money or sleep."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was found, and the cure if it is not as it should be."""

    level: Level
    check: str
    found: str
    cure: str = ""


def ok(check: str, found: str) -> Finding:
    return Finding(Level.OK, check, redact(found))


def warning(check: str, found: str, cure: str) -> Finding:
    return Finding(Level.WARNING, check, redact(found), cure)


def error(check: str, found: str, cure: str) -> Finding:
    return Finding(Level.ERROR, check, redact(found), cure)


def failed(check: str, reason: BaseException) -> Finding:
    """A check that couldn't be done."""
    text = brief(str(reason).strip()) or type(reason).__name__
    return error(check, f"can't be checked: {text}", "mend what is said here, then ask again")
