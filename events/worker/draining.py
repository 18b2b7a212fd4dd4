"""The end of a worker: no new work from SIGTERM on, a deadline for what runs, and the rest back to the ledger.

Celery's warm shutdown waits for running tasks without limit, and lets the pool begin what it has taken already.
"""

import logging
import mmap
import os
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from celery import signals
from celery.worker import state

from events.pipeline import Pipeline
from events.records import Wakeup
from events.transport.message import group_of

log = logging.getLogger("events.worker")


class Draining:
    """How far this worker's end has come: one byte, shared by the main process and the children it forks."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def begin(self) -> None:
        self._byte[0] = 1

    def cut_short(self) -> None:
        self._byte[0] = 2

    @property
    def begun(self) -> bool:
        """No new work is to be started."""
        return self._byte[0] > 0

    @property
    def is_cut_short(self) -> bool:
        """What runs is being ended, through no fault of its own."""
        return self._byte[0] == 2


class Drain:
    """What happens in the main process from SIGTERM on.

    Args:
        prefix: what the names of this worker's processes begin with, in the ledger's column `worker`.
        on_begin: called at once, in a thread: stops the relay.
        end_children: kills what the pool forked, so that no open transaction is in the way.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        draining: Draining,
        prefix: str,
        on_begin: Callable[[], None],
        end_children: Callable[[], None],
    ) -> None:
        self._pipeline = pipeline
        self._draining = draining
        self._prefix = prefix
        self._on_begin = on_begin
        self._end_children = end_children
        signals.worker_shutting_down.connect(self._begin)  # by weak reference: ends with this object

    def _begin(self, **_: Any) -> None:
        """In a signal handler: nothing here may wait."""
        if not self._draining.begun:
            self._draining.begin()
            threading.Thread(target=self._run, name="events-drain", daemon=True).start()

    def _run(self) -> None:
        self._on_begin()
        self.hand_back_unstarted()
        timeout = self._pipeline.settings.shutdown_timeout
        if threading.Event().wait(timeout.total_seconds()):  # never set: the process ends before, or now
            return
        self._draining.cut_short()
        self._end_children()
        count = self.release_running()
        log.warning("handed back %d deliveries that still ran %g s after SIGTERM", count, timeout.total_seconds())
        logging.shutdown()
        sys.stderr.flush()
        os._exit(0)

    def hand_back_unstarted(self) -> None:
        """What this worker has taken and not started goes back at once, for a worker that lives on."""
        try:
            held = [wakeup for group in self._pipeline.transport.held() for wakeup in group]
            if waiting := unstarted() + held:
                self._pipeline.ledger.outbox.hand_back(waiting, timedelta(0))
        except Exception as error:  # found by its age instead
            log.warning("can't hand back what was not started: %s", error)

    def release_running(self) -> int:
        """What this worker runs is pending again, the attempt not counted; a commit that comes late is refused."""
        try:
            return self._pipeline.ledger.inbox.release(self._prefix)
        except Exception as error:  # found by the end of its lease instead
            log.warning("can't hand back what runs: %s", error)
            return 0


def unstarted() -> list[Wakeup]:
    """Wake-ups in this process's hand that no handler has been started for. Main process only."""
    requests = tuple(state.reserved_requests)
    active = set(state.active_requests)
    return [wakeup for request in requests if request not in active for wakeup in group_of(request.message.headers)]
