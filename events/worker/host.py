"""What the parts of one worker share. Celery makes bootsteps, consumers and tasks by itself and hands each of them the
app or something that has it, so they find it by the app: by `host_of(app)`, and in no other way."""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from events.monitoring import RelayCounts, WorkerCounts
from events.pipeline import Pipeline
from events.relay import Relay
from events.watchdog import Pulse
from events.worker.draining import Drain, Draining

if TYPE_CHECKING:
    from events.worker.intake import Intake


@dataclass(slots=True, kw_only=True)
class Host:
    """Made before the pool forks: all processes of this worker share `draining`, `run_token` and `worker_counts`. The
    other fields, from `relay_counts` on, are the main process's alone."""

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
    alone: bool = True  # the app is ours, and runs handlers only; if not, the worker is an application's
    program: bool = True  # the worker is the program of its process, and no part of a test
    # Of an application's worker: the queues of handlers that it reads; changed by `cancel_consumer` and `add_consumer`.
    queues: list[str] | None = None
    off: str = ""  # why no handler runs here
    intake: "Intake | None" = None  # of an application's worker with a broker

    def worker_name(self, hostname: str) -> str:
        """This run of the worker, in the ledger. Its processes add a dot and their id."""
        return f"{hostname}/{self.run_token}"


def pool_of(pool: Any) -> str:
    """The short name of a pool of Celery's, or of its class: prefork, solo, thread, gevent or eventlet."""
    kind = pool if isinstance(pool, type) else type(pool)
    return str(kind.__module__.rpartition(".")[2])


_makers: WeakKeyDictionary[Any, Callable[[], Host]] = WeakKeyDictionary()
_hosts: WeakKeyDictionary[Any, Host] = WeakKeyDictionary()


def lend_host(app: Any, make: Callable[[], Host]) -> None:
    """From now on this app has hosts. `make` is called for each worker, once all of the application is imported."""
    _makers[app] = make


def new_host(app: Any) -> Host:
    """The host of a worker of this app that begins."""
    _hosts[app] = _makers[app]()
    return _hosts[app]


def host_of(app: Any) -> Host:
    """The host of the worker of this app in this process. Raises KeyError if it is no app with handlers."""
    found = _hosts.get(app)
    return new_host(app) if found is None else found


def has_host(app: Any) -> bool:
    """Whether a worker of this app runs handlers in this process."""
    return app in _hosts and not _hosts[app].off


def may_have_handlers(app: Any) -> bool:
    """Whether a worker of this app in this process runs handlers, or could do so with other options."""
    return app in _hosts


def is_alone(app: Any) -> bool:
    """Whether workers of this app run handlers only."""
    return app in _hosts and _hosts[app].alone


def queues_of(app: Any) -> list[str]:
    """The queues of handlers that this worker reads."""
    queues = host_of(app).queues
    return sorted(app.amqp.queues.consume_from) if queues is None else queues  # the list itself: it may change
