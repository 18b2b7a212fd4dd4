"""Decides about a delivery whose attempt failed: it gets another attempt or another worker, or is a dead letter."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from uuid import UUID

from events.delivery.outages import Outages
from events.errors import EventDataError, NewerEvent
from events.event import fingerprint
from events.handling import Handler
from events.hooks import Hooks
from events.ledger import ALIVE, Claim, Inbox, Outcome, Result, WorkerRegistry, failure_of

log = logging.getLogger("events.delivery")

Results = dict[UUID, Result]  # the results of one handler, by event id


class Judge:
    """Decides by the handler's retry policy, and writes the decision to the ledger.

    Args:
        inbox: the part of the ledger that stores outcomes.
        workers: the part of the ledger that knows the other living workers.
        outages: waits for a database that is away.
        hooks: the watchers, which know the span of an attempt.
    """

    def __init__(self, inbox: Inbox, workers: WorkerRegistry, outages: Outages, hooks: Hooks) -> None:
        self._inbox = inbox
        self._workers = workers
        self._outages = outages
        self._hooks = hooks

    def failed(self, handler: Handler, claim: Claim, error: BaseException) -> Result:
        """Find out whose fault this error is, decide what comes next, and write that to the ledger."""
        if self.was_committed(claim, error):
            return Result(Outcome.SUCCEEDED)
        if isinstance(error, EventDataError | NewerEvent) and self._is_for_another(handler, claim):
            return Result(Outcome.HANDED_BACK)
        if (pardons := self._inbox.pardons(error)) and self._interrupted(claim, error, pardons):
            return Result(Outcome.HANDED_BACK, error)
        return self._judge(handler, claim, error)

    def was_committed(self, claim: Claim, error: BaseException) -> bool:
        """Whether the database has committed this success, and only its answer was lost."""
        return self._inbox.is_away(error) and self._outages.wait_out(lambda: self._inbox.succeeded(claim))

    def take_apart(self, claims: Sequence[Claim], why: object) -> Results:
        """Hand back deliveries that were undone together. Each comes again by itself, so that only the guilty one is
        blamed."""
        handler = claims[0].handler
        log.info("%d deliveries of %s are tried one by one: %s", len(claims), handler, why, extra={"handler": handler})
        self._outages.wait_out(lambda: self._inbox.hand_back(claims, timedelta(0), alone=True))
        return {claim.envelope.id: Result(Outcome.HANDED_BACK) for claim in claims}

    def _interrupted(self, claim: Claim, error: BaseException, most: int) -> bool:
        """Hand back a delivery, as the database failed: the attempt isn't counted. False if that was so too often."""
        return self._outages.wait_out(lambda: self._inbox.interrupt(claim, error, most))

    def _is_for_another(self, handler: Handler, claim: Claim) -> bool:
        """Hand the delivery to a worker that may read its event, as this one can't. False if there is no such worker.

        There is one while old and new code run side by side.
        """
        event_type = claim.envelope.event_type
        ours = {event.event_name: fingerprint(event) for event in handler.events}.get(event_type, "")
        wait_out = self._outages.wait_out
        other = wait_out(lambda: self._workers.understood_elsewhere(handler.name, event_type, ours, ALIVE))
        return other and wait_out(lambda: self._inbox.pass_on([claim], ours)) == 1

    def _judge(self, handler: Handler, claim: Claim, error: BaseException) -> Result:
        delay = handler.retry.delay_after(error, claim.attempt)
        if isinstance(error, EventDataError):
            delay = None
        failure = failure_of(error, handler.home, self._hooks.traceparent(claim))
        if delay is None:
            result = Result(Outcome.DEAD, error)
            write = partial(self._inbox.bury, claim, failure)
        else:
            result = Result(Outcome.RETRY, error, delay)
            write = partial(self._inbox.retry, claim, failure, delay)
        try:
            recorded = write()
        except Exception as trouble:
            # The database is away now, and may have been away when the handler failed, whatever its own error says.
            if (pardons := self._inbox.pardons(trouble)) and self._interrupted(claim, error, pardons):
                return Result(Outcome.HANDED_BACK, error)
            recorded = self._outages.wait_out(write)
        # If nothing was recorded, another attempt has the delivery, or the database got a commit that seemed to fail.
        return result if recorded else Result(Outcome.NOT_OURS, error)
