"""Logs as text. What others wrote in them can't command the terminal that shows them, or forge a line: the lines of a
record after its first are indented. Secrets of URLs are left out.

An application's own messages may hold what it likes, colours among it; only secrets are taken out of them.
"""

import copy
import logging

from events.text import printable, redact

_INDENT = "  "
_REPEAT = ("amqp", "celery", "events", "kombu")  # loggers that repeat what comes in


class PlainFormatter(logging.Formatter):
    """Formats as another formatter does.

    Args:
        inner: that one; None for the standard library's.
    """

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        try:
            record = self._cleaned(record)
        except Exception:  # what can't be formatted is the logger's to complain about
            return self._inner.format(record)
        return self._inner.format(record)

    def _cleaned(self, record: logging.LogRecord) -> logging.LogRecord:
        """A copy, since other handlers get the record, too."""
        found = copy.copy(record)
        foreign = record.name.partition(".")[0] in _REPEAT and record.name != "celery.redirected"  # by print()
        found.msg, found.args = _clean(record.getMessage(), foreign), None
        if isinstance(record.exc_info, tuple) and not record.exc_text:
            found.exc_text = self._inner.formatException(record.exc_info)
        if found.exc_text:
            found.exc_text = _INDENT + _clean(found.exc_text)
        if found.stack_info:
            found.stack_info = _INDENT + _clean(found.stack_info)
        return found


def make_plain(logger: logging.Logger) -> None:
    """Let all handlers of this logger write so."""
    for handler in logger.handlers:
        if not isinstance(handler.formatter, PlainFormatter):
            handler.setFormatter(PlainFormatter(handler.formatter))


def _clean(text: str, foreign: bool = True) -> str:
    text = redact(text)
    return printable(text, lines=True).replace("\n", f"\n{_INDENT}") if foreign else text
