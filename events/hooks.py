"""What is announced to whoever watches: metrics, traces, tests. Watchers only listen: one that fails is logged, and
changes nothing of what becomes of an event."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from events.ledger import Claim, FannedOut, Group, Result
from events.throttle import Throttle

log = logging.getLogger("events.hooks")

Ended = tuple[Claim, Result, float]  # an attempt, what became of it, and the seconds in the handler


class Watcher:
    """Told of what happens in this process, in the thread in which it does: be quick. Override what you want."""

    def fanned_out(self, found: FannedOut) -> None:
        """The relay made deliveries of new events; committed."""

    def sending(self, groups: Sequence[Group]) -> None:
        """The relay is about to give these to the transport; in the thread in which it says whether they were sent."""

    def sent(self, groups: Sequence[Group]) -> None:
        """The relay gave these to the transport."""

    def expired(self, count: int) -> None:
        """So many deliveries whose worker died or fell silent were found; each is given out again, or dead. The relay
        finds them by the end of their lease; a worker's main process sees its children die."""

    def attempted(self, claim: Claim, result: Result, took: float) -> None:
        """A worker ended an attempt; committed. `took`: seconds in the handler, 0 if it wasn't called."""

    def ended(self, attempts: Sequence[Ended]) -> None:
        """The same of all that came together, each of which was told by `attempted`."""

    def parked(self, reason: str) -> None:
        """A message was put aside because it is no wake-up."""

    def around(self, claims: Sequence[Claim]) -> AbstractContextManager[None] | None:
        """Entered around the call of a handler, in its thread; a handler's error passes through it. Mostly None."""
        return None

    def traceparent(self, claim: Claim) -> str:
        """Of the span of this attempt, which is not yet `attempted`: kept with its failure. Mostly none."""
        return ""


class Hooks:
    """The watchers of one process."""

    def __init__(self) -> None:
        self._watchers: list[Watcher] = []
        self._throttle = Throttle(log)

    def add(self, watcher: Watcher) -> None:
        self._watchers.append(watcher)

    def fanned_out(self, found: FannedOut) -> None:
        for watcher in self._watchers:
            with self._harmless(watcher):
                watcher.fanned_out(found)

    def sending(self, groups: Sequence[Group]) -> None:
        for watcher in self._watchers:
            with self._harmless(watcher):
                watcher.sending(groups)

    def sent(self, groups: Sequence[Group]) -> None:
        for watcher in self._watchers:
            with self._harmless(watcher):
                watcher.sent(groups)

    def expired(self, count: int) -> None:
        for watcher in self._watchers:
            with self._harmless(watcher):
                watcher.expired(count)

    def attempted(self, claim: Claim, result: Result, took: float) -> None:
        for watcher in self._watchers:
            try:  # written out: it is called for each delivery
                watcher.attempted(claim, result, took)
            except Exception as error:
                self._failed(watcher, error)

    def ended(self, attempts: Sequence[Ended]) -> None:
        for watcher in self._watchers:
            try:
                watcher.ended(attempts)
            except Exception as error:
                self._failed(watcher, error)

    def parked(self, reason: str) -> None:
        for watcher in self._watchers:
            with self._harmless(watcher):
                watcher.parked(reason)

    def around(self, claims: Sequence[Claim]) -> AbstractContextManager[object] | None:
        """All that watchers want around a handler's call; None if nobody wants anything."""
        stack: ExitStack | None = None
        for watcher in self._watchers:
            try:
                entered = watcher.around(claims)
                if entered is not None:
                    stack = stack or ExitStack()
                    stack.enter_context(entered)
            except Exception as error:
                self._failed(watcher, error)
        return stack

    def traceparent(self, claim: Claim) -> str:
        for watcher in self._watchers:
            with self._harmless(watcher):
                if found := watcher.traceparent(claim):
                    return found
        return ""

    @contextmanager
    def _harmless(self, watcher: Watcher) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._failed(watcher, error)

    def _failed(self, watcher: Watcher, error: Exception) -> None:
        self._throttle.warn(f"watcher {type(watcher).__name__}: {type(error).__name__}: {error}")
