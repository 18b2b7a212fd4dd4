"""Is this message a wake-up? Checked before Celery looks at the message: an unexpected message may end the worker.

The check is strict: our queues carry only messages that `events.transport.message` writes. Further headers are allowed
if Celery and kombu don't act upon them, so that versions of this package can run side by side.
"""

import json
from dataclasses import dataclass
from typing import Any

from celery.app.task import Context
from kombu import Message

from events.ledger import Group
from events.text import redact
from events.transport import GARBAGE, HEADER, group_of, wakeup_message

REASONS = (
    "malformed message",
    "not a message",
    "not a task",
    "not a wake-up",
    "protocol 1",
    "content type",
    "content encoding",
    "body is not JSON",
    "wrong body",
    "wrong header",
    "wrong property",
    "expires",
    "eta",
)

_FREE = {"origin", "argsrepr", "kwargsrepr", "lang"}  # text for people
_ACTED_UPON = {name for name in vars(Context) if not name.startswith("__")} | {"compression"}
_SHOWN = 200  # characters of a wrong value
_FOREIGN = (
    "if it is a task of another Celery app, give that app a queue of its own (task_default_queue), and a worker that "
    "reads it; then send the task again, and discard this message"
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a message can't be run. `reason`: one of REASONS, for counting. `detail`: what exactly is wrong."""

    reason: str
    detail: str


def problem_of(message: Message) -> Group | Problem:
    """The wake-ups that a message carries, or what is wrong with it. Never raises."""
    try:
        return _check(message)
    except Exception as error:
        return Problem("malformed message", redact(f"{type(error).__name__}: {error}")[:1000])


def raw_body(message: Message) -> bytes:
    """The bytes of a message's body."""
    body = message.body
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    text = str(body if body is not None else "")
    try:  # py-amqp has decoded it
        return text.encode(message.content_encoding or "utf-8")
    except (LookupError, UnicodeError, TypeError):
        return text.encode("utf-8", "surrogatepass")


def _check(message: Message) -> Group | Problem:
    headers = message.headers
    if not isinstance(headers, dict):
        return _foreign(message)
    if GARBAGE in headers:
        return Problem("not a message", "the Redis list holds bytes that are not a message of kombu")
    if "task" not in headers:
        return _foreign(message)
    group = group_of(headers)
    if not group:
        return Problem("not a wake-up", f"task {_shown(headers['task'])} has no readable header {HEADER!r}; {_FOREIGN}")
    if message.content_type != "application/json":
        return Problem("content type", f"{_shown(message.content_type)}; wake-ups are application/json")
    if str(message.content_encoding).lower() != "utf-8":
        return Problem("content encoding", f"{_shown(message.content_encoding)}; wake-ups are utf-8")
    expected = wakeup_message(group)
    try:
        body = json.loads(raw_body(message).decode())
    except ValueError as error:  # UnicodeDecodeError is one
        return Problem("body is not JSON", str(error))
    if not _same(body, json.loads(expected.body)):
        return Problem("wrong body", f"{_shown(body)}, expected {expected.body}")
    return _check_headers(headers, expected.headers) or _check_properties(message, expected.correlation_id) or group


def _check_headers(headers: dict[str, Any], expected: dict[str, Any]) -> Problem | None:
    if wrong := [key for key in headers if key not in expected and (not isinstance(key, str) or key in _ACTED_UPON)]:
        return Problem(
            "wrong header", f"{_shown(wrong[0])} is {_shown(headers[wrong[0]])}; wake-ups have no such header"
        )
    for key, value in expected.items():
        if key in _FREE:
            if not isinstance(headers.get(key, ""), str):
                return Problem("wrong header", f"{key} is {_shown(headers[key])}, expected text")
        elif key not in headers or not _same(headers[key], value):
            reason = {"expires": "expires", "eta": "eta"}.get(key, "wrong header")
            given = _shown(headers[key]) if key in headers else "missing"
            return Problem(reason, f"{key} is {given}, expected {_shown(value)}")
    return None


def _check_properties(message: Message, correlation_id: str) -> Problem | None:
    properties = message.properties or {}
    if properties.get("correlation_id", correlation_id) != correlation_id:
        return Problem("wrong property", f"correlation_id is {_shown(properties['correlation_id'])}")
    if properties.get("reply_to") is not None and not isinstance(properties["reply_to"], str):
        return Problem("wrong property", f"reply_to is {_shown(properties['reply_to'])}")
    if properties.get("expiration") is not None:
        return Problem("expires", f"the message expires after {_shown(properties['expiration'])} ms")
    return None


def _foreign(message: Message) -> Problem:
    try:
        body = json.loads(raw_body(message).decode())
    except ValueError as error:
        return Problem("not a task", f"the message has no header `task`, and its body is not JSON: {error}")
    if isinstance(body, dict) and "task" in body:
        return Problem(
            "protocol 1",
            f"the message is a task of protocol 1, {_shown(body['task'])}; wake-ups are tasks of protocol 2",
        )
    return Problem("not a task", "the message has no header `task`")


def _same(given: Any, expected: Any) -> bool:
    """Whether two values are equal, and of equal types all the way down: True is not 1."""
    return given == expected and json.dumps(given, sort_keys=True) == json.dumps(expected, sort_keys=True)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
