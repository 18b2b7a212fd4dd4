"""What the parts of one worker share. Celery makes bootsteps, consumers and tasks by itself and hands each of them the
app or something that has it, so the app is where they find it: at `app.host`, by `host_of(app)`, and nowhere else."""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from events.monitoring import RelayCounts, WorkerCounts
from events.pipeline import Pipeline
from events.relay import Relay
from events.watchdog import Pulse
from events.worker.draining import Drain, Draining


@dataclass(slots=True, kw_only=True)
class Host:
    """Made by `build_app` before the pool forks: all processes of this worker share `draining`, `run_token` and
    `worker_counts`. The other fields, from `relay_counts` on, are the main process's alone."""

    pipeline: Pipeline
    worker_counts: WorkerCounts
    draining: Draining = field(default_factory=Draining)
    run_token: str = field(default_factory=lambda: secrets.token_hex(4))  # no other worker's, whatever its host name
    relay_counts: RelayCounts = field(default_factory=RelayCounts)
    pulse: Pulse = field(default_factory=Pulse)  # of Celery's event loop
    signs: dict[str, Callable[[], float]] = field(default_factory=dict)  # that this worker lives: seconds of silence
    lacked: threading.Event = field(default_factory=threading.Event)  # a message's handler is none of this worker's
    put_aside: int = 0  # messages that were passed on or parked before Celery saw them
    relay: Relay | None = None  # None where another process relays
    drain: Drain | None = None  # None before LedgerStep

    def worker_name(self, hostname: str) -> str:
        """This run of the worker, in the ledger. Its processes add a dot and their id."""
        return f"{hostname}/{self.run_token}"


def pool_of(pool: Any) -> str:
    """The short name of a pool of Celery's, or of its class: prefork, solo, thread, gevent or eventlet."""
    kind = pool if isinstance(pool, type) else type(pool)
    return str(kind.__module__.rpartition(".")[2])


def host_of(app: Any) -> Host:
    """The host of a Celery app that `build_app` made."""
    host: Host = app.host
    return host
