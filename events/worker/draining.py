"""The end of a worker: no new work from SIGTERM on, a deadline for what runs, and the rest back to the ledger.

Celery's warm shutdown waits for running tasks without limit, and lets the pool begin what it has taken already; its
cold one waits, too, where handlers can't be ended. Here a thread keeps the deadline, whatever else hangs.
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
from events.transport import group_of
from events.worker.last_words import last_words

log = logging.getLogger("events.worker")

_STATE, _PID = 0, 4  # places in the memory that is shared
_LAST = 5.0  # seconds that the ledger has, at the very end, to take back what ran
_LAST_IN_PROCESS = 1.0  # where handlers run in this process: their own transactions may be in the way
_LOOK = 0.05  # seconds


class Draining:
    """How far this worker's end has come: shared by the main process and the children it forks."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)

    def begin(self) -> None:
        self._shared[_STATE] = max(self._shared[_STATE], 1)

    def cut_short(self) -> None:
        self._shared[_STATE] = 2

    @property
    def begun(self) -> bool:
        """No new work is to be started."""
        return self._shared[_STATE] > 0

    @property
    def is_cut_short(self) -> bool:
        """What runs is being ended, through no fault of its own."""
        return self._shared[_STATE] == 2

    def order_end_of(self, pid: int) -> None:
        """That child, and no other, is about to be ended by a signal of the main process."""
        struct.pack_into("i", self._shared, _PID, pid)

    def is_ordered(self, pid: int) -> bool:
        return bool(struct.unpack_from("i", self._shared, _PID)[0] == pid)


class Drain:
    """What happens in the main process from SIGTERM on, in a thread of its own.

    Args:
        worker: what the names of this worker's processes begin with, in the ledger's column `worker`, before a dot.
        on_begin: stops the relay.
        end_children: kills what the pool forked, so that no open transaction is in the way; False if it forks none.
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
        signals.worker_shutting_down.connect(self._told)  # by weak reference: ends with this object

    def when_told(self, wake: Callable[[], None]) -> None:
        """`wake` is to have `start_if_begun` called, in another thread. It is itself called in signal handlers."""
        self._wake = wake

    def _told(self, how: str = "Warm", sig: str = "", **_: Any) -> None:
        """In a signal handler: nothing here, and in what it calls, may wait or take a lock."""
        if sig != "SIGHUP":
            self._program = []
        if how == "Cold":
            self.cut()
        else:
            self.begin()

    def begin(self) -> None:
        """Nothing new is begun; what runs has EVENTS_SHUTDOWN_TIMEOUT to end."""
        self._draining.begin()
        self._wake()

    def cut(self) -> None:
        """What runs ends now, and comes again as if it had not been begun."""
        self._exit_code = 1
        self._draining.cut_short()
        self._wake()

    def restart_as(self, program: list[str]) -> None:
        """When all has ended, this process goes on as that program; unless it is told to end after all."""
        self._program = program
        atexit.register(self._restart)

    def _restart(self) -> None:
        if self._program:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the new program has its own way with it
            os.execv(self._program[0], self._program)

    def start_if_begun(self) -> None:
        if self._draining.begun and self._once.acquire(blocking=False):
            threading.Thread(target=self._keep_deadline, name="events-drain", daemon=True).start()

    def _keep_deadline(self) -> None:
        timeout = self._pipeline.settings.shutdown_timeout.total_seconds()
        deadline = time.monotonic() + timeout
        threading.Thread(target=self._hand_back, name="events-hand-back", daemon=True).start()
        while time.monotonic() < deadline and not self._draining.is_cut_short:
            time.sleep(_LOOK)
        in_time = time.monotonic() < deadline
        self._draining.cut_short()
        apart = self._end_children()
        why = "when it was told to end at once" if in_time else f"{timeout:g} s after it was told to end"
        ended = threading.Event()
        threading.Thread(target=self._release, args=(why, ended), name="events-release", daemon=True).start()
        if not ended.wait(_LAST if apart else _LAST_IN_PROCESS) and not apart:
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
            log.warning("handed back %d deliveries that still ran %s", count, why)
            sys.stderr.flush()

    def hand_back_unstarted(self) -> None:
        """What this worker has taken and not started goes back at once, for a worker that lives on."""
        try:
            held = [wakeup for group in self._pipeline.transport.held() for wakeup in group]
            if waiting := unstarted() + held:
                self._pipeline.ledger.outbox.hand_back(waiting, timedelta(0))
        except Exception as error:  # found by its age instead
            log.warning("can't hand back what was not started: %s", error)

    def release_running(self) -> int | None:
        """What this worker runs is pending again, the attempt not counted; a commit that comes late is refused.

        How many deliveries; None if the ledger didn't let it. Then they are found by the end of their lease.
        """
        try:
            count = self._pipeline.ledger.inbox.release(f"{self._worker}.")
            self._pipeline.ledger.workers.gone(self._worker)
        except Exception as error:
            log.warning("can't hand back what runs: %s", error)
            return None
        return count


def unstarted() -> list[Wakeup]:
    """Wake-ups in this process's hand that no handler has been started for. Main process only."""
    requests = tuple(state.reserved_requests)
    active = set(state.active_requests)
    return [wakeup for request in requests if request not in active for wakeup in group_of(request.message.headers)]
