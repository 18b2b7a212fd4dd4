"""Logs as JSON, an object on each line (EVENTS_LOG_FORMAT). Lines of a handler's run name their delivery.

No function here may raise: if a part of a record can't be formatted, the line holds the other parts.
"""

import json
import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from events.hooks import Watcher
from events.ledger import Claim
from events.text import redact
from events.tracing import trace_id

_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}  # the rest is the caller's `extra`
_DEPTH = 8  # levels of a caller's extra field; deeper values are written as text

_at_work: ContextVar[Sequence[Claim]] = ContextVar("events_logs_at_work", default=())

Fields = Mapping[str, object]


class JsonFormatter(logging.Formatter):
    """Formats a record as one line.

    Args:
        also: gives further fields for a record from outside a handler's run.
    """

    def __init__(self, also: Callable[[logging.LogRecord], Fields] = lambda _: {}) -> None:
        super().__init__()
        self._also = also

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _time(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        whole = dict(line)
        for part in (self._of_delivery, _of_error, _of_caller):
            with suppress(Exception):
                whole = dict(part(record)) | whole  # fields of earlier parts stay
        try:
            return json.dumps(line | whole)
        except Exception as error:
            return json.dumps(line | {"left_out": type(error).__name__})

    def _of_delivery(self, record: logging.LogRecord) -> Fields:
        claims = _at_work.get()
        fields = about(claims) if claims else self._also(record)
        if "trace_id" not in fields and (current := trace_id()):
            return {**fields, "trace_id": current}
        return fields


class DeliveryLogs(Watcher):
    """Remembers the deliveries that this thread handles. Threads that a handler starts don't know its deliveries."""

    def around(self, claims: Sequence[Claim]) -> "_AtWork":
        return _AtWork(claims)


class _AtWork:
    def __init__(self, claims: Sequence[Claim]) -> None:
        self._claims = claims
        self._token: Token[Sequence[Claim]] | None = None

    def __enter__(self) -> None:
        self._token = _at_work.set(self._claims)

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self._token is not None:
            _at_work.reset(self._token)


def about(claims: Sequence[Claim]) -> Fields:
    """The fields that name these deliveries in a line. Made when a line is logged: most handlers log nothing."""
    first = claims[0]
    fields: dict[str, object] = {"handler": first.handler}
    if len(claims) > 1:
        kinds = {claim.envelope.event_type for claim in claims}
        fields |= {"events": len(claims)} | ({"event_type": kinds.pop()} if len(kinds) == 1 else {})
        return fields
    envelope = first.envelope
    fields |= {
        "event_id": str(envelope.id),
        "event_type": envelope.event_type,
        "attempt": first.attempt,
        "correlation_id": _correlation(envelope.metadata) or str(envelope.id),
    }
    trace = trace_id(envelope.metadata)
    return fields | {"trace_id": trace} if trace else fields


def _correlation(metadata: str) -> str:
    try:
        return str(json.loads(metadata).get("correlation_id") or "")
    except Exception:  # another program wrote the metadata, and they are not JSON
        return ""


def _of_error(record: logging.LogRecord) -> Fields:
    fields = {}
    if record.exc_info and record.exc_info[1] is not None:
        fields["exception"] = redact(_traceback(record.exc_info[1]))
    elif record.exc_text:
        fields["exception"] = redact(record.exc_text)
    if record.stack_info:
        fields["stack"] = redact(record.stack_info)
    return fields


def _of_caller(record: logging.LogRecord) -> Fields:
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD and not name.startswith("_")}
    return {name: _plain(value) for name, value in extra.items()}


def _plain(value: object, depth: int = 0) -> Any:
    """The value as JSON can hold it, without passwords."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if value - value == 0 else repr(float(value))  # JSON has no NaN and no infinity
    if isinstance(value, str):
        return redact(str(value))
    if isinstance(value, Mapping) and depth < _DEPTH:
        return {_text(name): _plain(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth < _DEPTH:
        return [_plain(inner, depth + 1) for inner in value]
    return _text(value)


def _text(value: object) -> str:
    try:
        return redact(str(value))
    except Exception:
        return f"({type(value).__name__} that can't be printed)"


def _time(created: float) -> str:
    try:
        return datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except Exception:  # a record that was not made by a logger
        return _time(0)


def _message(record: logging.LogRecord) -> str:
    try:
        return redact(record.getMessage())
    except Exception:  # the arguments don't fit the message
        return f"{_text(record.msg)} {_text(record.args)}"


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error)).rstrip("\n")
    except Exception:
        return f"{type(error).__name__}: (its traceback can't be printed)"
