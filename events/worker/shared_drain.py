"""The end of a worker that runs an application's own tasks, too: handlers have a deadline, tasks what Celery says."""

import os
import threading
import time
from typing import Any

from celery.worker import state

from events.transport import group_of
from events.worker.draining import LAST, LAST_IN_PROCESS, LOOK, Drain
from events.worker.last_words import last_words


class SharedDrain(Drain):
    """Ends handlers, and leaves the worker's process to Celery.

    On a pool without children a handler that runs on would keep the process from ending for ever; so the process ends
    when no plain task runs any more.

    Attributes:
        is_done: set when no handler runs any more, or those that do were handed back.
        ends_process: whether the process is the worker's own, and may be ended.
    """

    def __init__(self, *arguments: Any, ends_process: bool, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.is_done = threading.Event()
        self.ends_process = ends_process

    def _keep_deadline(self) -> None:
        timeout = self._pipeline.settings.shutdown_timeout.total_seconds()
        deadline = time.monotonic() + timeout
        self._hand_back()
        while time.monotonic() < deadline and not self._draining.is_cut_short and running(handlers=True):
            time.sleep(LOOK)
        if running(handlers=True) or self._draining.is_cut_short:
            why = "when it was told to end at once" if time.monotonic() < deadline else f"{timeout:g} s after that"
            self._cut(why)
        self.is_done.set()

    def _cut(self, why: str) -> None:
        self._draining.cut_short()
        in_children = self._end_children()
        ended = threading.Event()
        threading.Thread(target=self._release, args=(why, ended), name="events-release", daemon=True).start()
        is_released = ended.wait(LAST if in_children else LAST_IN_PROCESS)
        if in_children or not self.ends_process or not running(handlers=True):
            return
        self.is_done.set()
        while running(handlers=False):
            time.sleep(LOOK)
        if is_released and self._program:
            os.execv(self._program[0], self._program)
        if is_released:
            os._exit(self._exit_code)
        last_words(self._pipeline.settings, self._worker, self._exit_code, self._program)


def running(*, handlers: bool) -> list[Any]:
    """The requests that run in this worker: of handlers, or of the application's own tasks."""
    return [one for one in tuple(state.active_requests) if bool(group_of(one.message.headers)) is handlers]
