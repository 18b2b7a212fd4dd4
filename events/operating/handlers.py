"""Upkeep of handlers: pause one whose deliveries would only fail, resume it, retire one that no code has any more."""

from collections.abc import Callable

from events.errors import NoSuchHandler, StillRunning
from events.ledger import ALIVE, HandlerMetrics, Overviews, Switches, WorkerRegistry

BATCH = 1000  # deliveries in one transaction

Progress = Callable[[int], None]


class Upkeep:
    """What an operator does to handlers, whatever the face. Every action has an actor, and twice does nothing."""

    def __init__(self, switches: Switches, overviews: Overviews, workers: WorkerRegistry) -> None:
        self._switches = switches
        self._overviews = overviews
        self._workers = workers

    def handlers(self) -> list[HandlerMetrics]:
        """All that are subscribed, or that something waits for; without counts of what is finished."""
        return list(self._overviews.take(finished=False).handlers)

    def pause(self, handler: str, actor: str, progress: Progress | None = None) -> bool:
        """Start none of its deliveries any more: they wait, as do new ones, and retries. What runs (`running`) goes on.

        False if it was paused already. Raises NoSuchHandler, and StillStarting if a transaction that may not know of
        it doesn't end: it is paused, and may be paused again to wait once more.
        """
        self._known(handler)
        changed = self._switches.pause(handler, actor)
        self._by_batches(lambda: self._switches.hold(handler, BATCH), progress)  # again, if it was interrupted
        return changed

    def running(self, handler: str) -> int:
        """How many of its deliveries run at this moment."""
        return self._switches.running(handler)

    def resume(self, handler: str, actor: str) -> bool:
        """The relay sends what waits, within a second or so. False if it was not paused. Raises NoSuchHandler."""
        self._known(handler)
        return self._switches.resume(handler, actor)

    def retire(
        self, handler: str, actor: str, progress: Progress | None = None, *, event_type: str | None = None
    ) -> int:
        """It gets no more events, and what waits for it is discarded; how many deliveries. Dead letters stay.

        With `event_type` it gets no more of those, and keeps the others. Code that has it again subscribes again.
        Raises NoSuchHandler, StillRunning, and StillStarting if somebody doesn't let go of what waits.
        """
        self._known(handler, event_type)
        self._switches.unsubscribe(handler, actor, event_type, lambda: self._none_runs(handler, event_type))
        return self._by_batches(lambda: self._switches.drop(handler, actor, BATCH, event_type), progress)

    def would_drop(self, handler: str, event_type: str | None = None) -> int:
        """How many deliveries `retire` would discard. Raises NoSuchHandler, StillRunning."""
        self._known(handler, event_type)
        self._none_runs(handler, event_type)
        return self._switches.waiting(handler, event_type)

    def _known(self, handler: str, event_type: str | None = None) -> None:
        known = {one.handler: one for one in self.handlers()}
        if handler not in known:
            raise NoSuchHandler(f"no handler is named {handler!r}; the ledger knows {', '.join(known) or 'none'}")
        its = {*known[handler].event_types, *(orphan.event_type for orphan in known[handler].orphans)}
        if event_type is not None and event_type not in its:
            raise NoSuchHandler(
                f"{handler} takes no event {event_type!r}, and none waits for it; the ledger knows "
                f"{', '.join(sorted(its)) or 'none of it'}"
            )

    def _none_runs(self, handler: str, event_type: str | None) -> None:
        having = [worker.name for worker in self._workers.alive(ALIVE) if worker.has(handler, event_type)]
        if having:
            what = handler if event_type is None else f"{handler} for {event_type}"
            raise StillRunning(
                f"{what} runs on {', '.join(having)}; deploy code without it first (who was killed counts for another "
                f"{ALIVE.total_seconds():g} s), or pause it: events handlers pause {handler}"
            )

    @staticmethod
    def _by_batches(act: Callable[[], int], progress: Progress | None) -> int:
        done = 0
        while count := act():
            done += count
            if progress is not None:
                progress(done)
        return done
