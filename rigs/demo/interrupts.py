"""Ctrl-C, SIGTERM and a closed terminal: one exception, raised once, never while a process is being started."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """Somebody ends the demo. No Exception, so that no `except Exception` on the way out takes it for a failure."""

    def __init__(self, number: int) -> None:
        self.signal = number
        super().__init__(signal.Signals(number).name)


_depth = 0
_pending: int | None = None
_raised = False


def install() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # ignored: started by nohup
            signal.signal(number, _on_signal)


@contextmanager
def held_back() -> Iterator[None]:
    """While this block runs a signal waits; it is raised when the block ends."""
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
    _raise_pending()


def _on_signal(number: int, _: FrameType | None) -> None:
    global _pending
    if not _raised:  # the clean-up that the first signal began is short, and a second must not cut it
        _pending = _pending or number
        _raise_pending()


def _raise_pending() -> None:
    global _raised
    if _depth == 0 and _pending is not None and not _raised:
        _raised = True
        raise Stopped(_pending)
