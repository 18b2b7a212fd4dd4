"""A plain task as an event: the message that Celery has made of it, to be sent when the transaction has committed.

Both the body and all that is said about it are JSON in a text: so each number, NUL and NaN comes back as it went in.
"""

import types
from collections.abc import Mapping, Sequence
from typing import Any

from kombu import Exchange
from kombu.utils.json import dumps, loads

from events.errors import PublishError
from events.event import DomainEvent

_NOT_OURS = ("retry", "retry_policy", "timeout", "confirm_timeout")  # the ledger tries again, in its own time
_WORDS = (",", ":")


class TaskMessage(DomainEvent, abstract=True, aggregate_id="task_id"):
    """A task that is sent by one app; each app has a subclass.

    Attributes:
        task: the task's name.
        task_id: the id that the message has, and that AsyncResult knows.
        body: args, kwargs, and what follows the task (callbacks, chain, chord), as JSON.
        message: headers, properties and address of the message, as JSON.
    """

    task: str
    task_id: str
    body: str
    message: str

    def content(self) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
        """args, kwargs, and what follows the task."""
        args, kwargs, embedded = loads(self.body)
        return args, kwargs, embedded

    def options(self) -> dict[str, Any]:
        """What kombu's Producer.publish is to be given. `declare` names queues, or is a list of their descriptions."""
        options: dict[str, Any] = loads(self.message)
        return options


def message_class(outbox: str) -> type[TaskMessage]:
    """The class of the tasks of one app."""

    def fill(namespace: dict[str, Any]) -> None:
        namespace["__module__"] = __name__
        namespace["__doc__"] = f"A task of the Celery app {outbox!r}."

    return types.new_class("TaskOfApp", (TaskMessage,), {"name": f"tasks.{outbox}"}, fill)


def body_of(task: str, body: Sequence[Any], serializer: str) -> str:
    """args, kwargs, and what follows the task, as JSON.

    Raises:
        PublishError: an argument is no JSON; or JSON would change it, and the app's own serializer would not.
    """
    try:
        text: str = dumps(body, separators=_WORDS)
        if serializer == "json":  # what that changes, it always did
            return text
        args, kwargs, _ = loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise _no_json(task, body, error) from error
    if not (_is_same(list(body[0]), args) and _is_same(dict(body[1]), kwargs)):
        raise _changed(task, body, args, kwargs, serializer)
    return text


def message_of(options: Mapping[str, Any], task: str) -> str:
    """What Celery gives to a producer beside the body, as JSON. Raises PublishError for a header that is none."""
    told = {name: value for name, value in options.items() if value is not None and name not in _NOT_OURS}
    if isinstance(exchange := told.get("exchange"), Exchange):
        told["exchange"] = exchange.name
        told["exchange_type"] = exchange.type
    if declare := told.pop("declare", None):
        told["declare"] = [_described(queue) for queue in declare]
    try:
        return str(dumps(told, separators=_WORDS))
    except (TypeError, ValueError, RecursionError) as error:
        culprit = next((name for name, value in told.items() if _error_of(value)), "headers")
        inner = told.get("headers")
        if culprit == "headers" and isinstance(inner, dict):
            culprit = next((f"header {name!r}" for name, value in inner.items() if _error_of(value)), culprit)
        raise PublishError(
            f"task {task} in a transaction: its {culprit} is no JSON ({error}); give what is, such as text"
        ) from error


def _described(queue: Any) -> dict[str, Any]:
    """A queue that has to be there before the message is sent."""
    return {
        "name": queue.name,
        "exchange": queue.exchange.name if queue.exchange else "",
        "exchange_type": queue.exchange.type if queue.exchange else "direct",
        "routing_key": queue.routing_key or "",
    }


def _no_json(task: str, body: Sequence[Any], error: Exception) -> PublishError:
    named = [(f"argument {place}", value) for place, value in enumerate(body[0], 1)]
    named += [(f"argument {name!r}", value) for name, value in body[1].items()]
    named += [(f"what follows it ({name})", value) for name, value in body[2].items()]
    what, value = next(((what, value) for what, value in named if _error_of(value)), ("an argument", None))
    return PublishError(
        f"task {task} in a transaction: {what}, a {type(value).__name__}, is no JSON ({error}); give what is, such as "
        f"the id of a row, and load it in the task"
    )


def _changed(
    task: str, body: Sequence[Any], args: Sequence[Any], kwargs: Mapping[str, Any], serializer: str
) -> PublishError:
    named = [(f"argument {place}", old, new) for place, (old, new) in enumerate(zip(body[0], args, strict=True), 1)]
    named += [(f"argument {name!r}", old, kwargs.get(str(name))) for name, old in body[1].items()]
    what, old, new = next(one for one in named if not _is_same(one[1], one[2]))
    return PublishError(
        f"task {task} in a transaction: {what} is {old!r:.100}, and would come back from JSON, in which the ledger "
        f"stores it, as {new!r:.100}; give what JSON keeps, or send the task with serializer='json' instead of "
        f"{serializer!r}"
    )


def _error_of(value: object) -> Exception | None:
    try:
        dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        return error
    return None


def _is_same(one: Any, other: Any) -> bool:
    """Whether the values, and all within, are equal and of the same types."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return [*map(_typed, one)] == [*map(_typed, other)] and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return bool(one == other or (one != one and other != other))


def _typed(key: object) -> tuple[type, object]:
    return type(key), key
