"""Logs as text. Text of others can't command the terminal that shows a line, and can't forge a line: all lines of a
record after the first are indented. Secrets of URLs are left out.

Messages of the application may hold any characters, such as colours; only secrets are taken out of them.
"""

import copy
import logging

from events.text import printable, redact

_INDENT = "  "
_REPEAT = ("amqp", "celery", "events", "kombu")  # loggers whose messages may quote text from a broker or a client


class PlainFormatter(logging.Formatter):
    """Cleans a record, and lets another formatter format it.

    Args:
        inner: the other formatter; None for that of the standard library.
    """

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        try:
            record = self._cleaned(record)
        except Exception:  # the logger itself complains about a record that can't be formatted
            return self._inner.format(record)
        return self._inner.format(record)

    def _cleaned(self, record: logging.LogRecord) -> logging.LogRecord:
        """A cleaned copy: other handlers get the record, too."""
        cleaned = copy.copy(record)
        foreign = record.name.partition(".")[0] in _REPEAT and record.name != "celery.redirected"  # by print()
        cleaned.msg, cleaned.args = _clean(record.getMessage(), foreign), None
        if isinstance(record.exc_info, tuple) and not record.exc_text:
            cleaned.exc_text = self._inner.formatException(record.exc_info)
        if cleaned.exc_text:
            cleaned.exc_text = _INDENT + _clean(cleaned.exc_text)
        if cleaned.stack_info:
            cleaned.stack_info = _INDENT + _clean(cleaned.stack_info)
        return cleaned


def make_plain(logger: logging.Logger) -> None:
    """Let all handlers of this logger format with a PlainFormatter."""
    for handler in logger.handlers:
        if not isinstance(handler.formatter, PlainFormatter):
            handler.setFormatter(PlainFormatter(handler.formatter))


def _clean(text: str, foreign: bool = True) -> str:
    text = redact(text)
    return printable(text, lines=True).replace("\n", f"\n{_INDENT}") if foreign else text
