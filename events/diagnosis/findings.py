"""Findings: what a check reports."""

from dataclasses import dataclass
from enum import StrEnum

from events.text import brief, redact


class Level(StrEnum):
    """An error breaks the promise of delivery, or will break it; a warning costs speed, money or sleep."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: what the check found, and the cure if there is a fault."""

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
    """The finding of a check that raised."""
    text = brief(str(reason).strip()) or type(reason).__name__
    return error(check, f"the check failed: {text}", "mend this fault, then run `events doctor` again")
