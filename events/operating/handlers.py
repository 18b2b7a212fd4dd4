"""Pauses a handler whose deliveries would only fail, resumes it, and retires a handler that no code has any more."""

from collections.abc import Callable

from events.errors import NoSuchHandler, StillRunning
from events.ledger import ALIVE, HandlerMetrics, Overviews, Switches, WorkerRegistry

BATCH = 1000  # deliveries in one transaction

Progress = Callable[[int], None]


class Upkeep:
    """An operator's actions on handlers, for the command line, web pages and code.

    Every action has an actor, who is named in the history. An action that is repeated does nothing.
    """

    def __init__(self, switches: Switches, overviews: Overviews, workers: WorkerRegistry) -> None:
        self._switches = switches
        self._overviews = overviews
        self._workers = workers

    def handlers(self) -> list[HandlerMetrics]:
        """The handlers that are subscribed or have waiting deliveries; without the counts of finished deliveries."""
        return list(self._overviews.take(finished=False).handlers)

    def pause(self, handler: str, actor: str, progress: Progress | None = None) -> bool:
        """Start no delivery of the handler any more: they wait, and so do new ones and retries. Running ones go on.

        Returns whether the handler was not paused before.

        Args:
            progress: is called with the number of deliveries that were set aside.
        Raises:
            NoSuchHandler: the ledger doesn't know the handler.
            StillStarting: a transaction that may not know of the pause doesn't end. The handler is paused, and may be
                paused again to wait once more.
        """
        self._known(handler)
        changed = self._switches.pause(handler, actor)
        # Also if the handler was paused already: that pause may have been interrupted.
        self._by_batches(lambda: self._switches.hold(handler, BATCH), progress)
        return changed

    def running(self, handler: str) -> int:
        """The number of the handler's deliveries that run at this moment."""
        return self._switches.running(handler)

    def resume(self, handler: str, actor: str) -> bool:
        """Let the relay send the waiting deliveries, which it does within a second or so.

        Returns whether the handler was paused. Raises NoSuchHandler.
        """
        self._known(handler)
        return self._switches.resume(handler, actor)

    def retire(
        self, handler: str, actor: str, progress: Progress | None = None, *, event_type: str | None = None
    ) -> int:
        """Give the handler no more events, and discard its waiting deliveries. Returns how many. Dead letters stay.

        A worker whose code has the handler subscribes it again.

        Args:
            progress: is called with the number of deliveries that were discarded.
            event_type: end only the handler's subscription to this event type; None for all.
        Raises:
            NoSuchHandler: the ledger doesn't know the handler, or not with this event type.
            StillRunning: a living worker has the handler.
            StillStarting: a transaction doesn't let go of the waiting deliveries.
        """
        self._known(handler, event_type)
        self._switches.unsubscribe(handler, actor, event_type, lambda: self._none_runs(handler, event_type))
        return self._by_batches(lambda: self._switches.drop(handler, actor, BATCH, event_type), progress)

    def would_drop(self, handler: str, event_type: str | None = None) -> int:
        """The number of deliveries that `retire` would discard. Raises NoSuchHandler, StillRunning."""
        self._known(handler, event_type)
        self._none_runs(handler, event_type)
        return self._switches.waiting(handler, event_type)

    def _known(self, handler: str, event_type: str | None = None) -> None:
        known = {metrics.handler: metrics for metrics in self.handlers()}
        if handler not in known:
            raise NoSuchHandler(f"no handler is named {handler!r}; the ledger knows {', '.join(known) or 'none'}")
        event_types = {*known[handler].event_types, *(orphan.event_type for orphan in known[handler].orphans)}
        if event_type is not None and event_type not in event_types:
            raise NoSuchHandler(
                f"{handler} takes no event {event_type!r}, and no such event waits for it; its event types in the "
                f"ledger: {', '.join(sorted(event_types)) or 'none'}"
            )

    def _none_runs(self, handler: str, event_type: str | None) -> None:
        workers = [worker.name for worker in self._workers.alive(ALIVE) if worker.has(handler, event_type)]
        if workers:
            named = handler if event_type is None else f"{handler} for {event_type}"
            raise StillRunning(
                f"{named} runs on {', '.join(workers)}; deploy code without it first (a killed worker counts for "
                f"another {ALIVE.total_seconds():g} s), or pause it: events handlers pause {handler}"
            )

    @staticmethod
    def _by_batches(act: Callable[[], int], progress: Progress | None) -> int:
        done = 0
        while count := act():
            done += count
            if progress is not None:
                progress(done)
        return done
