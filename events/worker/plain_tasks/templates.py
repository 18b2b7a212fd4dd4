"""Messages of a task differ mostly by their arguments and their id alone: Celery makes one, and the others are made
after it, at a third of the price."""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from json import dumps
from typing import Any

from celery import Celery, signals

_EACH = {"args", "kwargs", "add_to_parent", "result_cls"}  # options that are not in the message, but for the arguments
_OWN = {  # options that make a message unlike others
    "countdown", "eta", "expires", "link", "link_error", "chain", "chord", "group_id", "group_index", "root_id",
    "parent_id", "argsrepr", "kwargsrepr", "stamped_headers",
}  # fmt: skip
_MOST = 1000  # templates of a thread: who gives other options each time gains nothing by them


@dataclass(frozen=True, slots=True)
class Template:
    """What messages of a task have in common.

    Attributes:
        around: the JSON of headers and properties, cut where the task's id stands.
        serializer: that the message is to be written by.
        ignore_result: whether nobody asks for the result.
    """

    around: list[str]
    serializer: str
    ignore_result: bool | None

    def message(self, task_id: str) -> str:
        """The headers and properties of the message of that id."""
        return dumps(task_id)[1:-1].join(self.around)


class Templates(threading.local):
    """The templates of one app; each thread has its own, as a message names the thread to which a result goes."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._found: dict[Any, Template] = {}
        self._settings: dict[str, Any] = {}
        self._process = 0
        self._is_static = False

    def key(self, name: str, options: Mapping[str, Any]) -> Any:
        """What tells messages apart that need templates of their own; None if this one is like no other."""
        if signals.before_task_publish.receivers or self._app.current_worker_task:
            return None
        given = [(one, value) for one, value in options.items() if value is not None and one not in _EACH]
        if any(one in _OWN for one, _ in given):
            return None
        changes = self._app.conf.changes
        if changes != self._settings or self._process != os.getpid():
            self._found.clear()
            self._settings, self._process = dict(changes), os.getpid()
            self._is_static = _is_static(self._app.conf.task_routes)
        key = (name, *given)
        try:
            hash(key)
        except TypeError:
            return None
        return key if self._is_static else None

    def get(self, key: Any) -> Template | None:
        return self._found.get(key) if key is not None else None

    def keep(self, key: Any, message: str, task_id: str, serializer: str, ignore_result: bool | None) -> None:
        """Remember a message that Celery has made. `task_id`: an id that stands nowhere else in it."""
        if key is not None and len(self._found) < _MOST:
            self._found[key] = Template(message.split(task_id), serializer, ignore_result)


def _is_static(routes: Any) -> bool:
    """Whether where a task goes doesn't depend on its arguments: no function decides about it."""
    several = routes if isinstance(routes, (list, tuple)) else [routes]
    return all(one is None or (isinstance(one, Mapping) and not any(map(callable, one.values()))) for one in several)
