"""What becomes of a delivery whose attempt failed: another attempt, another worker, or a dead letter."""

import logging
import random
from datetime import timedelta

from events.errors import EventDataError, NewerEvent
from events.event import fingerprint
from events.hooks import Hooks
from events.insisting import Insisting
from events.outcome import Outcome, Result, failure_of
from events.ports import Inbox, WorkerRegistry
from events.records import ALIVE, Claim
from events.registry import Handler

log = logging.getLogger("events.delivery")


def try_elsewhere_after() -> timedelta:
    """When a delivery that this worker can't run is sent again.

    Never the same: a broker that takes turns would give what is sent together to the same workers again and again.
    """
    return timedelta(seconds=random.uniform(0.5, 2.0))


class Judge:
    """Decides by the handler's retry policy, and writes it to the ledger. `workers`: who else lives."""

    def __init__(self, inbox: Inbox, workers: WorkerRegistry, insist: Insisting, hooks: Hooks) -> None:
        self._inbox = inbox
        self._workers = workers
        self._insist = insist
        self._hooks = hooks

    def failed(self, handler: Handler, claim: Claim, error: BaseException) -> Result:
        if self._inbox.is_crowded(error):
            log.warning("%s comes again, the attempt not counted: %s", handler.name, error,
                        extra={"handler": handler.name, "event_id": claim.envelope.id})  # fmt: skip
            self._insist(lambda: self._inbox.hand_back([claim], try_elsewhere_after()))
            return Result(Outcome.HANDED_BACK)
        if self._inbox.is_away(error) and self._insist(lambda: self._inbox.succeeded(claim)):
            return Result(Outcome.SUCCEEDED)  # the connection was lost after the database had committed
        if isinstance(error, EventDataError | NewerEvent) and self._is_for_another(handler, claim):
            return Result(Outcome.HANDED_BACK)
        return self._judge(handler, claim, error)

    def _is_for_another(self, handler: Handler, claim: Claim) -> bool:
        """We can't read this event. While old and new code run side by side, a worker with the other code may."""
        event_type = claim.envelope.event_type
        ours = {event.event_name: fingerprint(event) for event in handler.events}.get(event_type, "")
        other = self._insist(lambda: self._workers.understood_elsewhere(handler.name, event_type, ours, ALIVE))
        return other and self._insist(lambda: self._inbox.hand_back([claim], try_elsewhere_after())) == 1

    def _judge(self, handler: Handler, claim: Claim, error: BaseException) -> Result:
        delay = handler.retry.delay_after(error, claim.run)
        if isinstance(error, EventDataError):
            delay = None
        failure = failure_of(error, handler.call.__module__, self._hooks.traceparent(claim))
        if delay is None:
            result = Result(Outcome.DEAD, error)
            recorded = self._insist(lambda: self._inbox.bury(claim, failure))
        else:
            result = Result(Outcome.RETRY, error, delay)
            recorded = self._insist(lambda: self._inbox.retry(claim, failure, delay))
        # Not ours any more: another attempt has it, or a commit that seemed to fail had reached the database after all.
        return result if recorded else Result(Outcome.NOT_OURS, error)
