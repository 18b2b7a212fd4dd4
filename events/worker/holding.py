"""A worker tells the ledger which wake-ups it holds and has not started, or the relay would think them lost."""

import logging
import threading
from datetime import timedelta

from events.pipeline import Pipeline
from events.throttle import Throttle
from events.transport import MemoryTransport
from events.worker.draining import unstarted

log = logging.getLogger("events.worker")


class Holding:
    """Renews, three times in a stale window, the wake-ups that wait in this worker behind slow handlers."""

    def __init__(self, pipeline: Pipeline, worker: str) -> None:
        self._pipeline = pipeline
        self._worker = worker
        self._throttle = Throttle(log)
        self._stopping = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="events-holding", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        stale_after: timedelta = self._pipeline.settings.stale_after
        before: set[object] = set()
        while not self._stopping.wait(stale_after.total_seconds() / 3):
            held = [*unstarted(), *(wakeup for group in MemoryTransport().held() for wakeup in group)]
            try:
                if still := [wakeup for wakeup in held if wakeup in before]:  # the other wake-ups are young
                    self._pipeline.ledger.recovery.renew(still, stale_after, self._worker)
            except Exception as error:
                self._throttle.warn(f"can't renew the wake-ups that this worker holds: {error}")
            before = set(held)
