"""Work that an operator begins on a page and that takes its time: in a thread, with progress, and it can be stopped."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import uuid4

from events.text import first_line, redact

AT_ONCE = 4
KEPT = 5  # that have ended ...
SHOWN = timedelta(minutes=10)  # ... and for how long

Tell = Callable[[int, int | None], None]  # how many are done, and of how many

log = logging.getLogger("events.monitoring.flower.jobs")


class JobState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


class TooMany(Exception):
    """Too much is under way; the message says so."""


class _Stop(BaseException):
    """Leaves the core between two of its transactions, as Ctrl-C does at a shell."""


@dataclass(slots=True)
class Job:
    """One piece of work. `key`: what is the same has the same, and runs once at a time."""

    key: str
    title: str
    actor: str
    id: str = field(default_factory=lambda: uuid4().hex[:12])
    begun_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime | None = None
    state: JobState = JobState.RUNNING
    done: int = 0
    total: int | None = None
    said: str = ""  # how it ended
    stopping: bool = False
    error: Exception | None = None
    ended: "Future[None]" = field(default_factory=Future)


class Jobs:
    """Of this process. What was begun ends with it, between two transactions, and is begun again by whoever wants it.

    Args:
        on_end: called when one has ended, in its thread.
    """

    def __init__(self, on_end: Callable[[], None] = lambda: None) -> None:
        self._on_end = on_end
        self._lock = threading.Lock()
        self._running: dict[str, Job] = {}
        self._ended: deque[Job] = deque(maxlen=KEPT)

    def start(self, key: str, title: str, actor: str, work: Callable[[Tell], str]) -> Job:
        """The job; the one that runs, if the same is under way. `work` says in the end what it did."""
        with self._lock:
            if key in self._running:
                return self._running[key]
            if len(self._running) >= AT_ONCE:
                raise TooMany(f"{AT_ONCE} jobs are under way; wait for one of them, or stop it")
            job = self._running[key] = Job(key, title, actor)
        threading.Thread(target=self._run, args=(job, work), daemon=True).start()
        return job

    def stop(self, job_id: str) -> Job | None:
        """It ends after the transaction that it is in."""
        with self._lock:
            for job in self._running.values():
                if job.id == job_id:
                    job.stopping = True
                    return job
        return None

    def recent(self) -> list[Job]:
        """What runs, and what ended last; the newest first."""
        since = datetime.now(UTC) - SHOWN
        with self._lock:
            ended = [job for job in self._ended if job.ended_at and job.ended_at > since]
            return [*reversed(self._running.values()), *ended]

    def _run(self, job: Job, work: Callable[[Tell], str]) -> None:
        def tell(done: int, total: int | None) -> None:
            job.done, job.total = done, total
            if job.stopping:
                raise _Stop

        try:
            said = work(tell)
            state = JobState.DONE
        except _Stop:
            state, said = JobState.STOPPED, "the others are as they were"
        except Exception as error:
            log.warning("events: %s by %s failed: %s", job.title, job.actor, first_line(redact(str(error))))
            state, said, job.error = JobState.FAILED, "", error
        self._on_end()
        with self._lock:
            del self._running[job.key]
            job.state, job.said, job.ended_at = state, said, datetime.now(UTC)
            self._ended.appendleft(job)
        job.ended.set_result(None)
