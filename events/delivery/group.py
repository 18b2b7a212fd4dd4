"""Runs the deliveries of one message in one transaction, each in a savepoint of its own.

Only successes are written there. A delivery that fails in a group comes again alone, with no attempt counted, and so
has the outcome that it would have had without neighbours. If an error spoils the whole transaction, everything is
undone, and all deliveries come again alone.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from events.delivery.endings import Endings
from events.delivery.tools import Tools
from events.delivery.verdict import Results
from events.errors import EventDataError, KeepsToItself, NewerEvent, TransactionMisused
from events.handling import Handler
from events.ledger import GROUP_TIME, Claim, Outcome, Result, Shared, decode
from events.retry import RetryAfter

_PATIENCE = 2.5  # after so many times GROUP_TIME a group begins no further delivery


class GroupRunner:
    """Runs groups, each for as long as a group may take. Deliveries that there is no time for are handed back."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def run(self, handler: Handler, claims: Sequence[Claim]) -> Results:
        """Run one attempt of each delivery, and write the outcomes. Returns them."""
        if self._tools.pacing.is_apart(handler.name):
            return self._tools.judge.take_apart(claims, "as the handler changes more than rows")
        with Endings() as endings:
            results = self._run(handler, claims, endings)
            endings.committed = Outcome.SUCCEEDED in {result.outcome for result in results.values()}
        return results

    def _run(self, handler: Handler, claims: Sequence[Claim], endings: Endings) -> Results:
        tools, progress = self._tools, _Progress(claims)

        def on_late() -> None:  # a delivery takes long: the others shall not wait for it
            tools.pacing.note(handler.name, progress.so_far())
            self._hand_back(progress.leave())

        with tools.heartbeat.keep(claims, on_late):
            try:
                self._transact(handler, progress, endings)
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

    def _transact(self, handler: Handler, progress: "_Progress", endings: Endings) -> None:
        """Run the waiting deliveries one by one, and commit the effects and the successes of the good ones."""
        tools = self._tools
        with tools.inbox.begin_shared() as shared:
            with tools.inbox.lend(shared.connection, handler.name):
                while (claim := progress.next()) is not None:
                    self._run_one(handler, claim, shared, progress, endings)
                    if progress.so_far() > _PATIENCE * GROUP_TIME or tools.draining():
                        break
                progress.took = progress.so_far()
                shared.check()
            if progress.done:
                tools.inbox.succeed(shared.connection, progress.done)

    def _run_one(self, handler: Handler, claim: Claim, shared: Shared, progress: "_Progress", endings: Endings) -> None:
        """Run one delivery in a savepoint. Raises the errors that undo the whole group."""
        shared.begin_next()
        try:
            event = decode(claim.envelope)
            waiting = self._tools.calls.run(handler, [claim], [event], shared.connection, shared)
        except (TransactionMisused, KeepsToItself):
            raise
        except BaseException as error:
            if self._tools.stopping(error) or self._tools.inbox.is_contention(error):
                raise
            shared.undo()
            progress.failed.append((claim, error))
        else:
            endings.add(waiting)
            progress.done.append(claim)

    def _slow_down(self, handler: Handler, error: BaseException) -> None:
        """Let the handler's deliveries travel one by one: by this error the whole group was in vain."""
        if isinstance(error, KeepsToItself):
            self._tools.pacing.keep_apart(handler.name)
        else:
            self._tools.pacing.hindered(handler.name)

    def _measure(self, handler: Handler, progress: "_Progress") -> None:
        """Note how long the deliveries took, for the relay to group by."""
        done, failed = len(progress.done), len(progress.failed)
        if done or failed:  # neither, if the database stood still until the group was late
            self._tools.pacing.note(handler.name, progress.took, done + failed)
        if failed > done:  # trying these in a group first is wasted work
            self._tools.pacing.hindered(handler.name)

    def _failed(self, handler: Handler, failed: Sequence[tuple[Claim, BaseException]]) -> Results:
        """Decide about the failures. A neighbour, or its traces in the transaction, may be to blame for most of them:
        those deliveries are tried again alone, where a failure counts."""
        results: Results = {}
        again = []
        for claim, error in failed:
            # Unreadable data is no neighbour's fault. RetryAfter is the handler's wish, unless no attempt is left.
            is_wish = isinstance(error, RetryAfter) and handler.retry.delay_after(error, claim.attempt) is not None
            if is_wish or isinstance(error, EventDataError | NewerEvent):
                results[claim.envelope.id] = self._tools.judge.failed(handler, claim, error)
            else:
                again.append((claim, error))
        if again:
            results |= self._tools.judge.take_apart([claim for claim, _ in again], again[0][1])
        return results

    def _hand_back(self, claims: Sequence[Claim]) -> None:
        """Hand back deliveries that were claimed and not begun."""
        if claims:
            self._tools.outages.wait_out(lambda: self._tools.inbox.hand_back(claims, timedelta(0)))


@dataclass
class _Progress:
    """How far a group has come. One thread takes the deliveries; any thread may send home those that still wait.

    Attributes:
        claims: the deliveries of the group.
        done: the deliveries that went well.
        failed: the deliveries that failed, each with its error.
        left: the deliveries that were sent home without a run.
        took: the seconds that the runs took together.
    """

    claims: Sequence[Claim]
    done: list[Claim] = field(default_factory=list)
    failed: list[tuple[Claim, BaseException]] = field(default_factory=list)
    left: list[Claim] = field(default_factory=list)
    took: float = 0.0
    _begun: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        # All groups have the same order, so that two which change rows of the same aggregates don't lock crosswise.
        in_order = sorted(self.claims, key=lambda claim: (claim.envelope.aggregate_id, claim.envelope.id))
        self._waiting = in_order[::-1]

    def so_far(self) -> float:
        """Seconds since the group began."""
        return time.monotonic() - self._begun

    def next(self) -> Claim | None:
        """The next waiting delivery; None if none waits any more."""
        with self._lock:
            return self._waiting.pop() if self._waiting else None

    def leave(self) -> list[Claim]:
        """Send home the deliveries that still wait. Returns them."""
        with self._lock:
            left, self._waiting = self._waiting, []
            self.left += left
            return left
