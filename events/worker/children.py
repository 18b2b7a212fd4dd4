"""Ends the children of the prefork pool, and no other process; and knows which one has ended."""

import os
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from events.worker.host import pool_of

_ending: ContextVar[str] = ContextVar("events_ending_process", default="")


@contextmanager
def process_that_ends(name: str) -> Iterator[None]:
    """Within the block this child has ended, or is about to. `name`: its name in the ledger."""
    token = _ending.set(name)
    try:
        yield
    finally:
        _ending.reset(token)


def ending_process() -> str:
    """The name of the child that has ended; "" if it isn't known."""
    return _ending.get()


def end_children(worker: Any, which: Collection[int] | None = None) -> bool:
    """Kill the children of the pool, or those with these process ids. Returns False if the pool has no children."""
    if worker.pool is None or pool_of(worker.pool) != "prefork":
        return False
    try:
        children = worker.pool.info["processes"]
    except AttributeError:  # the pool has not started yet, or has ended
        return False
    for pid in children:
        if which is None or pid in which:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return True
