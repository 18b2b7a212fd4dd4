"""Ends the children of the prefork pool, and no other process."""

import os
import signal
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from events.worker.host import pool_of


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
