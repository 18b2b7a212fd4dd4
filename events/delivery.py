"""Deliveries: claim them, call the handler in a transaction, write the outcome into the same transaction.

Mostly one at a time. Under a backlog a message carries a group, of which each runs in its own savepoint of one
transaction, with its own outcome; a batch handler takes all of a group in one call. Whatever a group meets that is not
a handler's ordinary failure undoes all of it, and each of its deliveries comes again, alone, with no attempt counted.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection

from events.attempt import only_we_commit, run_handler
from events.codec import decode
from events.errors import EventDataError, LeaseLost, NewerEvent, PartlySent, TransactionMisused
from events.event import DomainEvent
from events.grouping import GROUP_TIME
from events.heartbeat import Heartbeat
from events.hooks import Hooks
from events.injection import Wanted
from events.insisting import GaveUp, Insisting
from events.judging import Judge
from events.line import Line
from events.outcome import Outcome, Result, failure_of
from events.pacing import Pacing
from events.ports import Inbox, Shared, Subscriptions, WorkerRegistry
from events.records import Claim
from events.registry import Handler, handler_named
from events.throttle import Throttle

log = logging.getLogger("events.delivery")

Results = dict[UUID, Result]

_PATIENCE = 2.5  # times the GROUP_TIME: after that a group begins nothing more


class Deliverer:
    """Runs deliveries in one process.

    Args:
        inbox: the ledger's side.
        subscriptions: where the pace of handlers is noted.
        workers: who else lives.
        worker: name of this worker, shown with dead letters.
        lease: how long a claim lasts without a heartbeat.
        hooks: who watches.
        stopping: tells whether an exception is this process being ended rather than the handler failing.
        draining: tells whether nothing new is to be started.
    """

    def __init__(
        self,
        inbox: Inbox,
        subscriptions: Subscriptions,
        workers: WorkerRegistry,
        worker: str,
        lease: timedelta,
        hooks: Hooks,
        stopping: Callable[[BaseException], bool] = lambda _: False,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._inbox = inbox
        self._worker = worker
        self._lease = lease
        self._stopping = stopping
        self._draining = draining
        self._hooks = hooks
        throttle = Throttle(log)  # one for both: a database that is away is one trouble
        self._insist = Insisting(inbox, throttle)
        self._judge = Judge(inbox, workers, self._insist, hooks)
        self._heartbeat = Heartbeat(inbox, lease, throttle)
        self._pacing = Pacing(subscriptions)
        self._took: dict[tuple[UUID, str], float] = {}  # seconds in the handler, of the attempts in hand

    def deliver(self, handler: str, attempts: Mapping[UUID, int]) -> Results:
        """Run one attempt of each delivery of a handler, given by event id; a handler's failure is a result.

        Raises:
            UnknownHandler: this process has no such handler; nothing was claimed.
            sqlalchemy.exc.DBAPIError: the database refused. While it is away this waits for it.
        """
        known = handler_named(handler)
        try:
            claims = self._insist(
                lambda: self._inbox.claim(handler, attempts, self._worker, self._lease), until=self._draining
            )
        except GaveUp:  # the ledger finds the wake-ups by their age
            return dict.fromkeys(attempts, Result(Outcome.HANDED_BACK))
        results = self._not_claimed(handler, attempts.keys() - {claim.envelope.id for claim in claims})
        # Who sent them may have known other code, in which the handler allowed more.
        for start in range(0, len(claims), known.most):
            part = claims[start : start + known.most]
            if len(part) == 1:
                results[part[0].envelope.id] = self._alone(known, part[0])
            else:
                results |= self._batch(known, part) if known.batch else self._group(known, part)
            for claim in part:
                took = self._took.pop((claim.envelope.id, handler), 0.0)
                self._hooks.attempted(claim, results[claim.envelope.id], took)
        return results

    def abandon(self, handler: str, attempts: Mapping[UUID, int], error: BaseException) -> None:
        """Record that the process which ran these attempts is gone. Does nothing for those that have an outcome."""
        delay = handler_named(handler).retry.backoff_after(1)
        if lost := self._inbox.abandon(handler, attempts, failure_of(error), delay):
            self._hooks.expired(lost)

    def _call(
        self,
        handler: Handler,
        claims: Sequence[Claim],
        events: Sequence[DomainEvent],
        connection: Connection,
        shared: Shared | None = None,
    ) -> None:
        around = self._hooks.around(claims)
        begun = time.perf_counter()
        try:
            if around is None:
                run_handler(handler, claims, events, connection, shared)
            else:
                with around:
                    run_handler(handler, claims, events, connection, shared)
        finally:
            each = (time.perf_counter() - begun) / len(claims)
            self._took |= {(claim.envelope.id, handler.name): each for claim in claims}

    def _not_claimed(self, handler: str, event_ids: Collection[UUID]) -> Results:
        known = self._inbox.known(handler, event_ids) if event_ids else ()
        return {one: Result(Outcome.NOT_OURS if one in known else Outcome.UNKNOWN) for one in event_ids}

    def _alone(self, handler: Handler, claim: Claim) -> Result:
        begun = time.monotonic()
        with self._heartbeat.keep([claim], lambda: self._pacing.note(handler.name, time.monotonic() - begun)):
            try:
                event = decode(claim.envelope)
                self._attempt(handler, claim, event, eager=False)
            except LeaseLost as error:
                log.warning("%s", error, extra=_about(claim))
                return Result(Outcome.NOT_OURS, error)
            except BaseException as error:
                if self._stopping(error):
                    raise
                if self._inbox.is_contention(error):
                    # Two transactions got in each other's way, which is nobody's failure: once more, locks first.
                    log.info("delivery %s of %s ran into another transaction", handler.name, claim.envelope.id,
                             extra=_about(claim))  # fmt: skip
                    return self._once_more(handler, claim, event)
                return self._judge.failed(handler, claim, error)
        return Result(Outcome.SUCCEEDED)

    def _once_more(self, handler: Handler, claim: Claim, event: DomainEvent) -> Result:
        try:
            self._attempt(handler, claim, event, eager=True)
        except LeaseLost as error:
            return Result(Outcome.NOT_OURS, error)
        except BaseException as error:
            if self._stopping(error):
                raise
            return self._judge.failed(handler, claim, error)
        return Result(Outcome.SUCCEEDED)

    def _attempt(self, handler: Handler, claim: Claim, event: DomainEvent, *, eager: bool) -> None:
        with self._inbox.begin(eager=eager) as connection:
            begun = time.monotonic()
            with only_we_commit(connection, handler.name):
                self._call(handler, [claim], [event], connection)
            took = time.monotonic() - begun
            self._inbox.succeed(connection, [claim])
        self._pacing.note(handler.name, took)  # not before: on SQLite our own transaction would be in its way

    def _group(self, handler: Handler, claims: Sequence[Claim]) -> Results:
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
                            self._call(handler, [claim], [decode(claim.envelope)], shared.connection, shared)
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
                if not (done and self._inbox.is_away(error) and self._insist(lambda: self._inbox.succeeded(done[0]))):
                    self._pacing.hindered(handler.name)
                    return self._apart(claims, error)
        if took:
            self._pacing.note(handler.name, took, len(done) + len(failed))
        results = {claim.envelope.id: Result(Outcome.SUCCEEDED) for claim in done}
        results |= {claim.envelope.id: self._judge.failed(handler, claim, error) for claim, error in failed}
        self._back(line.leave())
        return results | {claim.envelope.id: Result(Outcome.HANDED_BACK) for claim in line.left}

    def _batch(self, handler: Handler, claims: Sequence[Claim]) -> Results:
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
                            self._call(handler, whole, list(events.values()), shared.connection)
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
                if not (done and self._inbox.is_away(error) and self._insist(lambda: self._inbox.succeeded(done[0]))):
                    return results | self._apart(whole, error)
            results |= {
                claim.envelope.id: self._judge.failed(handler, claim, failed[str(claim.envelope.id)])
                for claim in whole
                if str(claim.envelope.id) in failed
            }
        return results | {claim.envelope.id: Result(Outcome.SUCCEEDED) for claim in done}

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


def _about(claim: Claim) -> dict[str, object]:
    """For logs that have fields."""
    return {"event_id": claim.envelope.id, "handler": claim.handler, "attempt": claim.run}
