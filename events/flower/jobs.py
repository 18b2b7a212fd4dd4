"""Jobs: long work that an operator begins on a page. A job runs in a thread, shows its progress, and can be stopped."""

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

AT_ONCE = 4  # jobs that may run at a time
KEPT = 5  # ended jobs that the pages show ...
SHOWN = timedelta(minutes=10)  # ... and for how long they show them

Tell = Callable[[int, int | None], None]  # takes how many deliveries are done, and how many there are

log = logging.getLogger("events.monitoring.flower.jobs")


class JobState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


class TooMany(Exception):
    """Too many jobs run; the message says how many."""


class _Stop(BaseException):
    """Ends a job between two transactions of the core, as Ctrl-C ends a command."""


@dataclass(slots=True)
class Job:
    """One job. `key`: jobs with the same key do the same work, and only one of them runs at a time."""

    key: str
    title: str
    actor: str
    id: str = field(default_factory=lambda: uuid4().hex[:12])
    begun_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime | None = None
    state: JobState = JobState.RUNNING
    done: int = 0
    total: int | None = None
    said: str = ""  # how the job ended
    stopping: bool = False
    error: Exception | None = None
    ended: "Future[None]" = field(default_factory=Future)


class Jobs:
    """The jobs of this process. They end with it, between two transactions; an operator may begin a job again.

    Args:
        on_end: called when a job has ended, in the thread of the job.
    """

    def __init__(self, on_end: Callable[[], None] = lambda: None) -> None:
        self._on_end = on_end
        self._lock = threading.Lock()
        self._running: dict[str, Job] = {}
        self._ended: deque[Job] = deque(maxlen=KEPT)

    def start(self, key: str, title: str, actor: str, work: Callable[[Tell], str]) -> Job:
        """Start a job, and return it; or return the job with this key that runs already.

        Args:
            work: does the job, and returns a sentence that says what it did.

        Raises TooMany.
        """
        with self._lock:
            if key in self._running:
                return self._running[key]
            if len(self._running) >= AT_ONCE:
                raise TooMany(f"{AT_ONCE} jobs run already; wait until a job ends, or stop a job")
            job = self._running[key] = Job(key, title, actor)
        threading.Thread(target=self._run, args=(job, work), daemon=True).start()
        return job

    def stop(self, job_id: str) -> Job | None:
        """Tell the job to end after its transaction. None if no such job runs."""
        with self._lock:
            for job in self._running.values():
                if job.id == job_id:
                    job.stopping = True
                    return job
        return None

    def recent(self) -> list[Job]:
        """The jobs that run, then the jobs that ended last; the newest first."""
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
            state, said = JobState.STOPPED, "the other deliveries are unchanged"
        except Exception as error:
            log.warning("events: %s by %s failed: %s", job.title, job.actor, first_line(redact(str(error))))
            state, said, job.error = JobState.FAILED, "", error
        self._on_end()
        with self._lock:
            del self._running[job.key]
            job.state, job.said, job.ended_at = state, said, datetime.now(UTC)
            self._ended.appendleft(job)
        job.ended.set_result(None)
