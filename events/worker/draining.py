"""The end of a worker: no new work after SIGTERM, a deadline for running handlers, and the rest back to the ledger.

Celery's warm shutdown waits for running tasks without limit, and lets the pool begin tasks that it has taken; its cold
shutdown waits, too, on pools that can't end handlers. Here a thread keeps the deadline, even if another thread hangs.
"""

import atexit
import logging
import mmap
import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from celery import signals
from celery.worker import state

from events.ledger import Wakeup
from events.pipeline import Pipeline
from events.text import deliveries
from events.transport import MemoryTransport, group_of
from events.worker.last_words import last_words

log = logging.getLogger("events.worker")

_STATE, _PID = 0, 4  # places in the shared memory
LAST = 5.0  # seconds that the ledger has, at the very end, to take back the deliveries that ran
LAST_IN_PROCESS = 1.0  # seconds, if handlers run in this process: their transactions may be in the way
LOOK = 0.05  # seconds between looks at the state


class Draining:
    """How far the end of this worker has come. The main process and the children that it forks share the state."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)

    def begin(self) -> None:
        """From now on no process of this worker starts a handler."""
        self._shared[_STATE] = max(self._shared[_STATE], 1)

    def cut_short(self) -> None:
        """From now on running handlers are ended."""
        self._shared[_STATE] = 2

    @property
    def begun(self) -> bool:
        """Whether no handler may be started any more."""
        return self._shared[_STATE] > 0

    @property
    def is_cut_short(self) -> bool:
        """Whether running handlers are being ended, through no fault of theirs."""
        return self._shared[_STATE] == 2

    def order_end_of(self, pid: int) -> None:
        """Note that the main process is about to end this child, and no other, by a signal."""
        struct.pack_into("i", self._shared, _PID, pid)

    def is_ordered(self, pid: int) -> bool:
        """Whether the main process has ordered the end of this child."""
        return bool(struct.unpack_from("i", self._shared, _PID)[0] == pid)


class Drain:
    """Ends the worker, in a thread of the main process, from SIGTERM on.

    Args:
        worker: the beginning of the names of this worker's processes in the ledger's column `worker`, before a dot.
        on_begin: stops the relay.
        end_children: kills the pool's children, so that none of their transactions is in the way; False if the pool
            has no children.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        draining: Draining,
        worker: str,
        on_begin: Callable[[], None],
        end_children: Callable[[], bool],
    ) -> None:
        self._pipeline = pipeline
        self._draining = draining
        self._worker = worker
        self._on_begin = on_begin
        self._end_children = end_children
        self._exit_code = 0
        self._program: list[str] = []
        self._once = threading.Lock()
        self._wake: Callable[[], None] = lambda: None
        signals.worker_shutting_down.connect(self._told)  # by a weak reference, which ends with this object

    def when_told(self, wake: Callable[[], None]) -> None:
        """Set the function that makes another thread call `start_if_begun`. Signal handlers call `wake`."""
        self._wake = wake

    def _told(self, how: str = "Warm", sig: str = "", **_: Any) -> None:
        """Runs in a signal handler: neither this function nor a function that it calls may wait or take a lock."""
        if sig != "SIGHUP":
            self._program = []
        if how == "Cold":
            self.cut()
        else:
            self.begin()

    def begin(self) -> None:
        """Start no handler any more; running handlers have EVENTS_SHUTDOWN_TIMEOUT to end."""
        self._draining.begin()
        self._wake()

    def cut(self) -> None:
        """End running handlers now. Their deliveries come again, and the attempt doesn't count."""
        self._exit_code = 1
        self._draining.cut_short()
        self._wake()

    def restart_as(self, program: list[str]) -> None:
        """Become that program when all handlers have ended, unless a later signal tells the process to end."""
        self._program = program
        atexit.register(self._restart)

    def _restart(self) -> None:
        if self._program:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the new program handles the signal
            os.execv(self._program[0], self._program)

    def start_if_begun(self) -> None:
        """Start the thread that ends the worker, once, if the worker was told to end."""
        if self._draining.begun and self._once.acquire(blocking=False):
            threading.Thread(target=self._keep_deadline, name="events-drain", daemon=True).start()

    def _keep_deadline(self) -> None:
        timeout = self._pipeline.settings.shutdown_timeout.total_seconds()
        deadline = time.monotonic() + timeout
        threading.Thread(target=self._hand_back, name="events-hand-back", daemon=True).start()
        while time.monotonic() < deadline and not self._draining.is_cut_short:
            time.sleep(LOOK)
        in_time = time.monotonic() < deadline
        self._draining.cut_short()
        in_children = self._end_children()
        why = "when it was told to end at once" if in_time else f"{timeout:g} s after it was told to end"
        ended = threading.Event()
        threading.Thread(target=self._release, args=(why, ended), name="events-release", daemon=True).start()
        if not ended.wait(LAST if in_children else LAST_IN_PROCESS) and not in_children:
            last_words(self._pipeline.settings, self._worker, self._exit_code, self._program)
        if self._program:
            os.execv(self._program[0], self._program)
        os._exit(self._exit_code)

    def _hand_back(self) -> None:
        self._on_begin()
        self.hand_back_unstarted()

    def _release(self, why: str, ended: threading.Event) -> None:
        self.hand_back_unstarted()
        count = self.release_running()
        if count is not None:
            ended.set()
            log.warning("handed back %s that still ran %s", deliveries(count), why)
            sys.stderr.flush()

    def hand_back_unstarted(self) -> None:
        """Hand back the wake-ups that this worker has taken and not started, for a worker that lives on."""
        try:
            held = [wakeup for group in MemoryTransport().held() for wakeup in group]
            if waiting := unstarted() + held:
                self._pipeline.ledger.outbox.hand_back(waiting, timedelta(0))
        except Exception as error:  # the relay finds the wake-ups by their age instead
            log.warning("can't hand back the deliveries that were not started: %s", error)

    def release_running(self) -> int | None:
        """Make the running deliveries of this worker pending again, the attempt not counted; a late commit is refused.

        Returns how many deliveries; None if the ledger failed. Then the relay finds them by the end of their lease.
        """
        try:
            count = self._pipeline.ledger.inbox.release(f"{self._worker}.")
            self._pipeline.ledger.workers.gone(self._worker)
        except Exception as error:
            log.warning("can't hand back the deliveries that run: %s", error)
            return None
        return count


def unstarted() -> list[Wakeup]:
    """Wake-ups that this process has taken, and for which it has started no handler. In the main process only."""
    requests = tuple(state.reserved_requests)
    active = set(state.active_requests)
    return [wakeup for request in requests if request not in active for wakeup in group_of(request.message.headers)]
