"""Deliveries: claim them, call the handler in a transaction, write the outcome into the same transaction.

Mostly one at a time. Several that came in one message are the business of events.delivery.group.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from uuid import UUID

from events.delivery.claiming import Claiming
from events.delivery.group import Results, Together
from events.delivery.heartbeat import Heartbeat
from events.delivery.outages import GaveUp, Insisting
from events.delivery.pacing import Pacing
from events.delivery.session import Sessions
from events.delivery.transaction import Calls
from events.delivery.verdict import Judge
from events.errors import LeaseLost
from events.event import DomainEvent
from events.handling import Handler, handler_named
from events.hooks import Hooks
from events.ledger import Claim, Inbox, Outcome, Result, Subscriptions, WorkerRegistry, decode, failure_of
from events.throttle import Throttle

log = logging.getLogger("events.delivery")


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
        overtime: tells whether an exception is the time limit of the handler.
        time_limit: of handlers that name none.
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
        overtime: Callable[[BaseException], bool] = lambda _: False,
        time_limit: timedelta = timedelta(seconds=90),
    ) -> None:
        self._inbox = inbox
        self._claiming = Claiming(inbox, worker, lease)
        self._stopping = stopping
        self._draining = draining
        self._hooks = hooks
        throttle = Throttle(log)  # one for both: a database that is away is one trouble
        self._insist = Insisting(inbox, throttle, overtime)
        self._judge = Judge(inbox, workers, self._insist, hooks)
        self._heartbeat = Heartbeat(inbox, lease, throttle, time_limit)
        self._pacing = Pacing(subscriptions)
        self._calls = Calls(hooks)
        self._together = Together(
            inbox, self._calls, self._judge, self._heartbeat, self._pacing, self._insist, stopping, draining
        )

    def deliver(self, handler: str, tokens: Mapping[UUID, int]) -> Results:
        """Run one attempt of each delivery of a handler, given by event id and token; a failure is a result.

        Raises:
            UnknownHandler: this process has no such handler; nothing was claimed.
            sqlalchemy.exc.DBAPIError: the database refused. While it is away this waits for it.
        """
        known = handler_named(handler)
        with self._claiming.in_hand(handler, tokens) as ours:
            others = dict.fromkeys(tokens.keys() - ours.keys(), Result(Outcome.NOT_OURS))
            return others | (self._deliver(known, ours) if ours else {})

    def _deliver(self, known: Handler, tokens: Mapping[UUID, int]) -> Results:
        handler = known.name
        try:
            claims = self._insist(self._claiming.of(handler, tokens), until=self._draining)
        except GaveUp:  # the ledger finds the wake-ups by their age
            return dict.fromkeys(tokens, Result(Outcome.HANDED_BACK))
        left = tokens.keys() - {claim.envelope.id for claim in claims}
        results = self._insist(lambda: self._not_claimed(handler, left))
        if strange := [claim for claim in claims if claim.envelope.event_type not in known.event_types]:
            results |= self._passed_on(known, strange)
            claims = [claim for claim in claims if claim.envelope.event_type in known.event_types]
        try:
            # Who sent them may have known other code, in which the handler allowed more.
            for start in range(0, len(claims), known.most):
                part = claims[start : start + known.most]
                if len(part) == 1:
                    results[part[0].envelope.id] = self._alone(known, part[0])
                else:
                    results |= (self._together.batch if known.batch else self._together.group)(known, part)
                ended = [(claim, results[claim.envelope.id], self._calls.took(claim)) for claim in part]
                for attempt in ended:
                    self._hooks.attempted(*attempt)
                self._hooks.ended(ended)
        finally:
            self._calls.forget(claims)
        return results

    def overdue(self) -> list[str]:
        """What has run over its time limit: for people."""
        return self._heartbeat.overdue()

    def abandon(self, handler: str, tokens: Mapping[UUID, int], error: BaseException) -> int:
        """Record that the process which ran these attempts is gone. Does nothing for those that have an outcome.

        How many had none.
        """
        delay = handler_named(handler).retry.backoff_after(1)
        if lost := self._inbox.abandon(handler, tokens, failure_of(error), delay):
            self._hooks.expired(lost)
        return lost

    def _not_claimed(self, handler: str, event_ids: Collection[UUID]) -> Results:
        known = self._inbox.known(handler, event_ids) if event_ids else ()
        return {one: Result(Outcome.NOT_OURS if one in known else Outcome.UNKNOWN) for one in event_ids}

    def _passed_on(self, handler: Handler, claims: Collection[Claim]) -> Results:
        """Its code takes these events no longer, or not yet: they wait for a worker whose code does."""
        log.warning(
            "%s doesn't take events %s here; %d of its deliveries wait for a worker where it does", handler.name,
            ", ".join(sorted({claim.envelope.event_type for claim in claims})), len(claims),
            extra={"handler": handler.name},
        )  # fmt: skip
        self._insist(lambda: self._inbox.pass_on(claims))
        return {claim.envelope.id: Result(Outcome.HANDED_BACK) for claim in claims}

    def _alone(self, handler: Handler, claim: Claim) -> Result:
        sessions = Sessions()
        result: Result | None = None
        try:
            result = self._by_itself(handler, claim, sessions)
        finally:
            sessions.over(committed=result is not None and result.outcome is Outcome.SUCCEEDED)
        return result

    def _by_itself(self, handler: Handler, claim: Claim, sessions: Sessions) -> Result:
        begun = time.monotonic()
        with self._heartbeat.keep([claim], lambda: self._pacing.note(handler.name, time.monotonic() - begun)):
            try:
                event = decode(claim.envelope)
                self._attempt(handler, claim, event, sessions, eager=False)
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
                    sessions.over(committed=False)
                    return self._once_more(handler, claim, event, sessions)
                return self._judge.failed(handler, claim, error)
        return Result(Outcome.SUCCEEDED)

    def _once_more(self, handler: Handler, claim: Claim, event: DomainEvent, sessions: Sessions) -> Result:
        try:
            self._attempt(handler, claim, event, sessions, eager=True)
        except LeaseLost as error:
            return Result(Outcome.NOT_OURS, error)
        except BaseException as error:
            if self._stopping(error):
                raise
            return self._judge.failed(handler, claim, error)
        return Result(Outcome.SUCCEEDED)

    def _attempt(
        self, handler: Handler, claim: Claim, event: DomainEvent, sessions: Sessions, *, eager: bool
    ) -> None:  # fmt: skip
        with self._inbox.begin(eager=eager) as connection:
            begun = time.monotonic()
            with self._inbox.lend(connection, handler.name) as touches:
                sessions.add(self._calls(handler, [claim], [event], connection))
            took = time.monotonic() - begun
            self._inbox.succeed(connection, [claim])
        if touches():
            self._pacing.keep_apart(handler.name)
        self._pacing.note(handler.name, took)  # not before: on SQLite our own transaction would be in its way


def _about(claim: Claim) -> dict[str, object]:
    """For logs that have fields."""
    return {"event_id": claim.envelope.id, "handler": claim.handler, "attempt": claim.attempt}
