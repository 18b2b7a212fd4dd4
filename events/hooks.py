"""Announces events and deliveries to watchers: metrics, traces, tests. Watchers only listen: a watcher that fails is
logged, and changes nothing."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from events.ledger import Claim, FannedOut, Group, Result
from events.throttle import Throttle

log = logging.getLogger("events.hooks")

Ended = tuple[Claim, Result, float]  # an attempt, its result, and its seconds in the handler


class Watcher:
    """Watches this process. Subclasses override the methods that they need.

    The methods are called in the thread that does the work, so they have to be quick.
    """

    def fanned_out(self, found: FannedOut) -> None:
        """The relay made deliveries of new events, and has committed them."""

    def sending(self, groups: Sequence[Group]) -> None:
        """The relay is about to give these groups to the transport. `sent` follows, in the same thread."""

    def sent(self, groups: Sequence[Group]) -> None:
        """The relay gave these groups to the transport, which took them."""

    def expired(self, count: int) -> None:
        """`count` deliveries were found whose worker died or fell silent. Each is given out again, or is dead.

        The relay finds them by the end of their lease; a worker's main process sees its children die.
        """

    def attempted(self, claim: Claim, result: Result, took: float) -> None:
        """A worker ended an attempt, and has committed its result.

        `took`: the seconds in the handler, 0 if the handler wasn't called.
        """

    def ended(self, attempts: Sequence[Ended]) -> None:
        """A worker ended these attempts, which ran together. `attempted` was called for each of them before."""

    def parked(self, reason: str) -> None:
        """A message was put aside because it is no wake-up."""

    def around(self, claims: Sequence[Claim]) -> AbstractContextManager[None] | None:
        """A context manager around the call of a handler, in the handler's thread; most watchers return None.

        The handler's error passes through the context manager.
        """
        return None

    def traceparent(self, claim: Claim) -> str:
        """The context of the span of this attempt, to be stored with its failure; most watchers return "".

        It is called before `attempted`.
        """
        return ""


class Hooks:
    """The watchers of one process."""

    def __init__(self) -> None:
        self._watchers: list[Watcher] = []
        self._throttle = Throttle(log)

    def add(self, watcher: Watcher) -> None:
        self._watchers.append(watcher)

    def replace(self, *watchers: Watcher) -> None:
        """Add these watchers, in place of those of the same classes."""
        kinds = {type(watcher) for watcher in watchers}
        self._watchers = [*(one for one in self._watchers if type(one) not in kinds), *watchers]

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
            try:  # without _harmless: this is called for each delivery
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
        """The watchers' context managers as one; None if no watcher has any."""
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
                if traceparent := watcher.traceparent(claim):
                    return traceparent
        return ""

    @contextmanager
    def _harmless(self, watcher: Watcher) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._failed(watcher, error)

    def _failed(self, watcher: Watcher, error: Exception) -> None:
        self._throttle.warn(f"watcher {type(watcher).__name__}: {type(error).__name__}: {error}")
