"""Deliveries that came in one message: a group, or a batch.

Of a group each runs in its own savepoint of one transaction, with its own outcome; a batch handler takes all of them in
one call. Whatever they meet that is no ordinary failure of a handler undoes all of it: each comes again, alone, with no
attempt counted.
"""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

from events.attempt import Calls, only_we_commit
from events.codec import decode
from events.errors import EventDataError, NewerEvent, PartlySent, TransactionMisused
from events.event import DomainEvent
from events.grouping import GROUP_TIME
from events.heartbeat import Heartbeat
from events.injection import Wanted
from events.insisting import Insisting
from events.judging import Judge
from events.line import Line
from events.outcome import Outcome, Result
from events.pacing import Pacing
from events.ports import Inbox
from events.records import Claim
from events.registry import Handler

log = logging.getLogger("events.delivery")

Results = dict[UUID, Result]

_PATIENCE = 2.5  # times the GROUP_TIME: after that a group begins nothing more


class Together:
    """Runs groups and batches; the arguments are those of events.delivery.Deliverer, and what it made of them."""

    def __init__(
        self, inbox: Inbox, calls: Calls, judge: Judge, heartbeat: Heartbeat, pacing: Pacing, insist: Insisting,
        stopping: Callable[[BaseException], bool], draining: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._inbox = inbox
        self._calls = calls
        self._judge = judge
        self._heartbeat = heartbeat
        self._pacing = pacing
        self._insist = insist
        self._stopping = stopping
        self._draining = draining

    def group(self, handler: Handler, claims: Sequence[Claim]) -> Results:
        """Each in its own savepoint of one transaction, for as long as a group may take."""
        # In an order of their own, so that groups which change rows of the same aggregates don't lock crosswise.
        line = Line(sorted(claims, key=lambda one: (one.envelope.aggregate_id, one.envelope.id)))
        done: list[Claim] = []
        failed: list[tuple[Claim, BaseException]] = []
        begun = time.monotonic()
        took = 0.0

        def on_late() -> None:  # one of them takes long: the others shall not wait for it
            self._pacing.note(handler.name, time.monotonic() - begun)
            self._back(line.leave())

        with self._heartbeat.keep(claims, on_late):
            try:
                with self._inbox.begin_shared() as shared, only_we_commit(shared.connection, handler.name):
                    while (claim := line.next()) is not None:
                        shared.begin_next()
                        try:
                            self._calls(handler, [claim], [decode(claim.envelope)], shared.connection, shared)
                        except TransactionMisused:
                            raise
                        except BaseException as error:
                            if self._stopping(error) or self._inbox.is_contention(error):
                                raise
                            shared.undo()
                            failed.append((claim, error))
                        else:
                            done.append(claim)
                        if time.monotonic() - begun > _PATIENCE * GROUP_TIME or self._draining():
                            break
                    took = time.monotonic() - begun
                    shared.check()
                    if done:
                        self._inbox.succeed(shared.connection, done)
            except BaseException as error:
                if self._stopping(error):
                    raise
                if not self._committed(done, error):
                    self._pacing.hindered(handler.name)
                    return self._apart(claims, error)
        if took:
            self._pacing.note(handler.name, took, len(done) + len(failed))
        results = {claim.envelope.id: Result(Outcome.SUCCEEDED) for claim in done}
        results |= {claim.envelope.id: self._judge.failed(handler, claim, error) for claim, error in failed}
        self._back(line.leave())
        return results | {claim.envelope.id: Result(Outcome.HANDED_BACK) for claim in line.left}

    def batch(self, handler: Handler, claims: Sequence[Claim]) -> Results:
        """All in one call of the handler."""
        results: Results = {}
        events: dict[UUID, DomainEvent] = {}
        with self._heartbeat.keep(claims, lambda: None):
            for claim in claims:
                try:
                    events[claim.envelope.id] = decode(claim.envelope)
                except (EventDataError, NewerEvent) as error:
                    results[claim.envelope.id] = self._judge.failed(handler, claim, error)
            whole = [claim for claim in claims if claim.envelope.id in events]
            if not whole:
                return results
            done, failed = whole, dict[str, Exception]()
            try:
                with self._inbox.begin_shared() as shared:
                    with only_we_commit(shared.connection, handler.name):
                        try:
                            self._calls(handler, whole, list(events.values()), shared.connection)
                        except PartlySent as error:
                            if set(handler.wants.values()) != {Wanted.EVENTS}:
                                raise  # it may have written for all of them, in the transaction that it was given
                            failed = error.failed
                        shared.check()
                    done = [claim for claim in whole if str(claim.envelope.id) not in failed]
                    if done:
                        self._inbox.succeed(shared.connection, done)
            except BaseException as error:
                if self._stopping(error):
                    raise
                if not self._committed(done, error):
                    return results | self._apart(whole, error)
            results |= {
                claim.envelope.id: self._judge.failed(handler, claim, failed[str(claim.envelope.id)])
                for claim in whole
                if str(claim.envelope.id) in failed
            }
        return results | {claim.envelope.id: Result(Outcome.SUCCEEDED) for claim in done}

    def _committed(self, done: Sequence[Claim], error: BaseException) -> bool:
        """Whether the database had committed, and only its answer was lost."""
        return bool(done) and self._inbox.is_away(error) and self._insist(lambda: self._inbox.succeeded(done[0]))

    def _apart(self, claims: Sequence[Claim], error: BaseException) -> Results:
        """All is undone. Each comes again by itself, so that whichever is to blame is the only one to be blamed."""
        log.info("%d deliveries of %s are tried one by one: %s", len(claims), claims[0].handler, error,
                 extra={"handler": claims[0].handler})  # fmt: skip
        self._insist(lambda: self._inbox.hand_back(claims, timedelta(0), alone=True))
        return {claim.envelope.id: Result(Outcome.HANDED_BACK) for claim in claims}

    def _back(self, claims: Sequence[Claim]) -> None:
        """Claimed and not begun."""
        if claims:
            self._insist(lambda: self._inbox.hand_back(claims, timedelta(0)))
