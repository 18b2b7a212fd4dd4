"""Deliveries of one message, each in a savepoint of its own of one transaction.

In company there are only successes: what fails there comes again, alone, with no attempt counted, and so it has the
outcome that it would have had without neighbours. What fails more than itself undoes all of it, and all come again like
that.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from events.delivery.session import Sessions
from events.delivery.tools import Tools
from events.delivery.verdict import Results
from events.errors import EventDataError, KeepsToItself, NewerEvent, TransactionMisused
from events.handling import Handler
from events.ledger import Claim, Outcome, Result, Shared, decode
from events.relay import GROUP_TIME
from events.retry import RetryAfter

_PATIENCE = 2.5  # times the GROUP_TIME: after that a group begins nothing more


class GroupRunner:
    """Runs groups, for as long as a group may take; what it has no time for is handed back."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def run(self, handler: Handler, claims: Sequence[Claim]) -> Results:
        """One attempt of each; what became of them is written."""
        if self._tools.pacing.is_apart(handler.name):
            return self._tools.judge.take_apart(claims, "as the handler changes more than rows")
        with Sessions() as sessions:
            results = self._run(handler, claims, sessions)
            sessions.committed = Outcome.SUCCEEDED in {result.outcome for result in results.values()}
        return results

    def _run(self, handler: Handler, claims: Sequence[Claim], sessions: Sessions) -> Results:
        tools, progress = self._tools, _Progress(claims)

        def on_late() -> None:  # one of them takes long: the others shall not wait for it
            tools.pacing.note(handler.name, progress.so_far())
            self._hand_back(progress.leave())

        with tools.heartbeat.keep(claims, on_late):
            try:
                self._transact(handler, progress, sessions)
            except BaseException as error:
                if tools.stopping(error):
                    raise
                if not (progress.done and tools.judge.was_committed(progress.done[0], error)):
                    self._slow_down(handler, error)
                    return tools.judge.take_apart(claims, error)
        self._measure(handler, progress)
        results = {claim.envelope.id: Result(Outcome.SUCCEEDED) for claim in progress.done}
        results |= self._failed(handler, progress.failed)
        self._hand_back(progress.leave())
        return results | {claim.envelope.id: Result(Outcome.HANDED_BACK) for claim in progress.left}

    def _transact(self, handler: Handler, progress: "_Progress", sessions: Sessions) -> None:
        """Run those in line, one after another, and commit what went well with their successes."""
        tools = self._tools
        with tools.inbox.begin_shared() as shared:
            with tools.inbox.lend(shared.connection, handler.name):
                while (claim := progress.next()) is not None:
                    self._run_one(handler, claim, shared, progress, sessions)
                    if progress.so_far() > _PATIENCE * GROUP_TIME or tools.draining():
                        break
                progress.took = progress.so_far()
                shared.check()
            if progress.done:
                tools.inbox.succeed(shared.connection, progress.done)

    def _run_one(
        self, handler: Handler, claim: Claim, shared: Shared, progress: "_Progress", sessions: Sessions
    ) -> None:  # fmt: skip
        """Raises what undoes the whole group."""
        shared.begin_next()
        try:
            event = decode(claim.envelope)
            session = self._tools.calls.run(handler, [claim], [event], shared.connection, shared)
        except (TransactionMisused, KeepsToItself):
            raise
        except BaseException as error:
            if self._tools.stopping(error) or self._tools.inbox.is_contention(error):
                raise
            shared.undo()
            progress.failed.append((claim, error))
        else:
            shared.end()
            sessions.add(session)
            progress.done.append(claim)

    def _slow_down(self, handler: Handler, error: BaseException) -> None:
        """The whole group was in vain, by this error."""
        if isinstance(error, KeepsToItself):
            self._tools.pacing.keep_apart(handler.name)
        else:
            self._tools.pacing.hindered(handler.name)

    def _measure(self, handler: Handler, progress: "_Progress") -> None:
        done, failed = len(progress.done), len(progress.failed)
        if done or failed:  # none, if it was late before the first: a database that stood still
            self._tools.pacing.note(handler.name, progress.took, done + failed)
        if failed > done:  # to try each of them in company is work in vain
            self._tools.pacing.hindered(handler.name)

    def _failed(self, handler: Handler, failed: Sequence[tuple[Claim, BaseException]]) -> Results:
        """Its neighbours may be to blame, or what they left in the transaction: only alone a failure is a failure."""
        results: Results = {}
        again = []
        for claim, error in failed:
            # Data that can't be read are what they are, and RetryAfter is a wish, unless there is no other attempt.
            is_wish = isinstance(error, RetryAfter) and handler.retry.delay_after(error, claim.attempt) is not None
            if is_wish or isinstance(error, EventDataError | NewerEvent):
                results[claim.envelope.id] = self._tools.judge.failed(handler, claim, error)
            else:
                again.append((claim, error))
        if again:
            results |= self._tools.judge.take_apart([claim for claim, _ in again], again[0][1])
        return results

    def _hand_back(self, claims: Sequence[Claim]) -> None:
        """Claimed and not begun."""
        if claims:
            self._tools.outages.wait_out(lambda: self._tools.inbox.hand_back(claims, timedelta(0)))


@dataclass
class _Progress:
    """How far a group has come. One thread takes its deliveries; that or another sends home those that still wait.

    Attributes:
        claims: the group.
        done, failed: those that were run; the latter each with its error.
        left: those that were sent home.
        took: seconds that those took which were run.
    """

    claims: Sequence[Claim]
    done: list[Claim] = field(default_factory=list)
    failed: list[tuple[Claim, BaseException]] = field(default_factory=list)
    left: list[Claim] = field(default_factory=list)
    took: float = 0.0
    _begun: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        # In an order of their own, so that groups which change rows of the same aggregates don't lock crosswise.
        in_order = sorted(self.claims, key=lambda claim: (claim.envelope.aggregate_id, claim.envelope.id))
        self._waiting = in_order[::-1]

    def so_far(self) -> float:
        """Seconds since the group began."""
        return time.monotonic() - self._begun

    def next(self) -> Claim | None:
        """The next in line; None if none waits any more."""
        with self._lock:
            return self._waiting.pop() if self._waiting else None

    def leave(self) -> list[Claim]:
        """Send home those that still wait, and say which."""
        with self._lock:
            left, self._waiting = self._waiting, []
            self.left += left
            return left
