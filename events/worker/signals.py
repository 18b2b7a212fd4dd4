"""Signals: the main process obeys them even while it hangs, and its children leave them to the main process.

A supervisor or a terminal often signals the whole process group, or every process of a service (systemd). Then the main
process decides when running handlers have to end; a child that died of the signal by itself would end its handler.
"""

import atexit
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from billiard import common as billiard_common
from billiard import pool as billiard_pool
from celery.signals import worker_process_shutdown, worker_shutting_down
from celery.worker import state

from events.worker.draining import Drain, Draining

_SAME_SIGNAL = 3.0  # seconds in which the main process gets the signal of a child, if all processes were signalled
_LOOK = 0.01  # seconds between looks at the state
_FOR_ALL = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


class SignalListener:
    """Tells the drain of signals, in a thread of its own. Python's signal handlers wait for the main thread, which may
    be in a database's library, at a broker's socket, or in a handler of the solo pool.

    Args:
        soft_shutdown: Celery's worker_soft_shutdown_timeout, in seconds.
        alone: whether the worker runs handlers only. If not, signals stay as Celery has them, and this thread obeys
            what Celery makes of them. But where Celery starts again on SIGHUP, so does this, by the same command.
    """

    def __init__(self, drain: Drain, soft_shutdown: float, alone: bool = True) -> None:
        self._drain = drain
        self._alone = alone
        self._soft_shutdown = soft_shutdown
        self._interrupts = self._colds = 0
        self._cut_at = float("inf")
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def start(self) -> None:
        """Start to listen. Call this in the main thread."""
        self._drain.when_told(self._wake)
        if self._alone:
            atexit.register(_ignore)  # registered before the drain's exit handler, so it runs after that
            signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        obeyed = signal.getsignal(signal.SIGHUP)
        if callable(obeyed) or (self._alone and obeyed is not signal.SIG_IGN):  # it is ignored if nohup started us
            signal.signal(signal.SIGHUP, self._hang_up)
        threading.Thread(target=self._listen, name="events-signals", daemon=True).start()

    def _wake(self) -> None:
        """Wake the thread. Signal handlers call this."""
        with suppress(BlockingIOError):  # the pipe is full, so the thread wakes anyway
            os.write(self._write, b"\0")

    def _listen(self) -> None:
        while True:
            wait = None if self._cut_at == float("inf") else max(0.0, self._cut_at - time.monotonic())
            ready, _, _ = select.select([self._read], [], [], wait)
            for number in os.read(self._read, 4096) if ready else b"":
                self._signalled(number)
            if time.monotonic() >= self._cut_at:
                self._drain.cut()
                self._cut_at = float("inf")
            self._drain.start_if_begun()

    def _signalled(self, number: int) -> None:
        """Obey a signal as Celery does: SIGQUIT means a cold shutdown, and so does the second SIGINT."""
        if number not in _FOR_ALL:
            return
        self._drain.begin()
        self._interrupts += number == signal.SIGINT
        if number == signal.SIGTERM:
            cold = bool(os.environ.get("REMAP_SIGTERM"))
        else:
            cold = number == signal.SIGQUIT or (number == signal.SIGINT and self._interrupts > 1)
        if cold:
            self._colds += 1
            self._cut_at = time.monotonic() + (self._soft_shutdown if self._colds == 1 else 0)

    def _hang_up(self, *_: Any) -> None:
        """Without a terminal SIGHUP means to start again, as in Celery; with one, that the terminal is gone."""
        if state.should_stop is None and not _has_terminal():
            # Celery's own way puts its own folder first, and would find events in that.
            self._drain.restart_as([sys.executable, *sys.orig_argv[1:]])
        worker_shutting_down.send(sender=None, sig="SIGHUP", how="Warm", exitcode=os.EX_OK)
        state.should_stop = os.EX_OK


def _has_terminal() -> bool:
    return sys.__stdout__ is not None and sys.__stdout__.isatty()


def _ignore() -> None:
    """Ignore all signals: while Python tidies up, the next signal would kill the process."""
    for number in _FOR_ALL:
        signal.signal(number, signal.SIG_IGN)


def leave_signals_to_parent(draining: Draining, runs_handler: Callable[[], bool] = lambda: True) -> None:
    """Make a child of the prefork pool ignore signals that the whole worker gets. Call this while the child starts.

    A signal that only the child gets ends it, and the attempt of its handler counts: the handler itself may have sent
    the signal.

    Args:
        runs_handler: whether the child runs a handler now. If not, it obeys signals as any child of Celery's.
    """
    leaving = False

    def leave(**_: Any) -> None:
        nonlocal leaving
        leaving = True

    def signalled(number: int, frame: Any) -> None:
        deadline = time.monotonic() + (_SAME_SIGNAL if runs_handler() else 0)
        while not (leaving or draining.is_ordered(os.getpid())) and time.monotonic() < deadline:
            if draining.begun:
                return  # the main process ends the child
            time.sleep(_LOOK)
        billiard_common._shutdown_cleanup(number, frame)

    def reset_signals(full: bool = False) -> None:
        billiard_common.reset_signals(signalled, full)

    worker_process_shutdown.connect(leave, weak=False)
    billiard_pool.reset_signals = reset_signals  # the child calls this next


# A child inherits the pipe, and would tell the main process of the signals of the child.
os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
