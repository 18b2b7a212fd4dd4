"""Deliveries that came in one message: a group, or a batch.

Of a group each runs in its own savepoint of one transaction; a batch handler takes all of them in one call. In company
there are only successes: what fails there comes again, alone, with no attempt counted, and so it has the outcome that
it would have had without neighbours. What fails more than itself undoes all of it, and all come again like that.
"""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

from events.delivery.heartbeat import Heartbeat
from events.delivery.line import Line
from events.delivery.outages import Insisting
from events.delivery.pacing import Pacing
from events.delivery.session import Sessions
from events.delivery.transaction import Calls
from events.delivery.verdict import Judge
from events.errors import EventDataError, KeepsToItself, NewerEvent, PartlySent, TransactionMisused
from events.event import DomainEvent
from events.handling import Handler, Wanted
from events.ledger import Claim, Inbox, Outcome, Result, decode
from events.relay import GROUP_TIME
from events.retry import RetryAfter

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
        if self._pacing.is_apart(handler.name):
            return self._apart(claims, "as the handler changes more than rows")
        sessions = Sessions()
        results: Results | None = None
        try:
            results = self._group(handler, claims, sessions)
        finally:
            committed = results is not None and Outcome.SUCCEEDED in {one.outcome for one in results.values()}
            sessions.over(committed=committed)
        return results

    def _group(self, handler: Handler, claims: Sequence[Claim], sessions: Sessions) -> Results:
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
                with self._inbox.begin_shared() as shared:
                    with self._inbox.lend(shared.connection, handler.name):
                        while (claim := line.next()) is not None:
                            shared.begin_next()
                            try:
                                event = decode(claim.envelope)
                                session = self._calls(handler, [claim], [event], shared.connection, shared)
                            except (TransactionMisused, KeepsToItself):
                                raise
                            except BaseException as error:
                                if self._stopping(error) or self._inbox.is_contention(error):
                                    raise
                                shared.undo()
                                failed.append((claim, error))
                            else:
                                shared.end()
                                sessions.add(session)
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
                    if isinstance(error, KeepsToItself):
                        self._pacing.keep_apart(handler.name)
                    else:
                        self._pacing.hindered(handler.name)
                    return self._apart(claims, error)
        if ran := len(done) + len(failed):  # none, if it was late before the first: a database that stood still
            self._pacing.note(handler.name, took, ran)
        if len(failed) > len(done):  # to try each of them in company is work in vain
            self._pacing.hindered(handler.name)
        results = {claim.envelope.id: Result(Outcome.SUCCEEDED) for claim in done}
        results |= self._failed(handler, failed)
        self._back(line.leave())
        return results | {claim.envelope.id: Result(Outcome.HANDED_BACK) for claim in line.left}

    def _failed(self, handler: Handler, failed: Sequence[tuple[Claim, BaseException]]) -> Results:
        """Its neighbours may be to blame, or what they left in the transaction: only alone a failure is a failure."""
        results: Results = {}
        again = []
        for claim, error in failed:
            # Data that can't be read are what they are, and RetryAfter is a wish, unless there is no other attempt.
            is_wish = isinstance(error, RetryAfter) and handler.retry.delay_after(error, claim.attempt) is not None
            if is_wish or isinstance(error, EventDataError | NewerEvent):
                results[claim.envelope.id] = self._judge.failed(handler, claim, error)
            else:
                again.append((claim, error))
        if again:
            results |= self._apart([claim for claim, _ in again], again[0][1])
        return results

    def batch(self, handler: Handler, claims: Sequence[Claim]) -> Results:
        """All in one call of the handler."""
        sessions = Sessions()
        results: Results | None = None
        try:
            results = self._batch(handler, claims, sessions)
        finally:
            committed = results is not None and Outcome.SUCCEEDED in {one.outcome for one in results.values()}
            sessions.over(committed=committed)
        return results

    def _batch(self, handler: Handler, claims: Sequence[Claim], sessions: Sessions) -> Results:
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
                with self._inbox.begin(eager=True) as connection:
                    with self._inbox.lend(connection, handler.name):
                        try:
                            sessions.add(self._calls(handler, whole, list(events.values()), connection))
                        except PartlySent as error:
                            if set(handler.wants.values()) != {Wanted.EVENTS}:
                                raise  # it may have written for all of them, in the transaction that it was given
                            failed = error.failed
                    done = [claim for claim in whole if str(claim.envelope.id) not in failed]
                    if done:
                        self._inbox.succeed(connection, done)
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

    def _apart(self, claims: Sequence[Claim], why: object) -> Results:
        """They are undone. Each comes again by itself, so that whichever is to blame is the only one to be blamed."""
        log.info("%d deliveries of %s are tried one by one: %s", len(claims), claims[0].handler, why,
                 extra={"handler": claims[0].handler})  # fmt: skip
        self._insist(lambda: self._inbox.hand_back(claims, timedelta(0), alone=True))
        return {claim.envelope.id: Result(Outcome.HANDED_BACK) for claim in claims}

    def _back(self, claims: Sequence[Claim]) -> None:
        """Claimed and not begun."""
        if claims:
            self._insist(lambda: self._inbox.hand_back(claims, timedelta(0)))
