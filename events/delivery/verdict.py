"""What becomes of a delivery whose attempt failed: another attempt, another worker, or a dead letter."""

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

from events.delivery.outages import Outages
from events.errors import EventDataError, NewerEvent
from events.event import fingerprint
from events.handling import Handler
from events.hooks import Hooks
from events.ledger import ALIVE, Claim, Inbox, Outcome, Result, WorkerRegistry, failure_of

log = logging.getLogger("events.delivery")

Results = dict[UUID, Result]  # by event id, of one handler


class Judge:
    """Decides by the handler's retry policy, and writes it to the ledger. `workers`: who else lives."""

    def __init__(self, inbox: Inbox, workers: WorkerRegistry, outages: Outages, hooks: Hooks) -> None:
        self._inbox = inbox
        self._workers = workers
        self._outages = outages
        self._hooks = hooks

    def failed(self, handler: Handler, claim: Claim, error: BaseException) -> Result:
        """Whose fault it was, and so what comes next."""
        if self.was_committed(claim, error):
            return Result(Outcome.SUCCEEDED)
        if isinstance(error, EventDataError | NewerEvent) and self._is_for_another(handler, claim):
            return Result(Outcome.HANDED_BACK)
        if (pardons := self._inbox.pardons(error)) and self._interrupted(claim, error, pardons):
            return Result(Outcome.HANDED_BACK, error)
        return self._judge(handler, claim, error)

    def was_committed(self, claim: Claim, error: BaseException) -> bool:
        """Whether the database had committed this success, and only its answer was lost."""
        return self._inbox.is_away(error) and self._outages.wait_out(lambda: self._inbox.succeeded(claim))

    def take_apart(self, claims: Sequence[Claim], why: object) -> Results:
        """They are undone. Each comes again by itself, so that whichever is to blame is the only one to be blamed."""
        log.info("%d deliveries of %s are tried one by one: %s", len(claims), claims[0].handler, why,
                 extra={"handler": claims[0].handler})  # fmt: skip
        self._outages.wait_out(lambda: self._inbox.hand_back(claims, timedelta(0), alone=True))
        return {claim.envelope.id: Result(Outcome.HANDED_BACK) for claim in claims}

    def _interrupted(self, claim: Claim, error: BaseException, most: int) -> bool:
        """It was the database that failed: this attempt isn't counted, unless that was so too often."""
        return self._outages.wait_out(lambda: self._inbox.interrupt(claim, error, most))

    def _is_for_another(self, handler: Handler, claim: Claim) -> bool:
        """We can't read this event. While old and new code run side by side, a worker with the other code may."""
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
        write: Callable[[], bool]
        if delay is None:
            result = Result(Outcome.DEAD, error)
            write = lambda: self._inbox.bury(claim, failure)  # noqa: E731
        else:
            result = Result(Outcome.RETRY, error, delay)
            write = lambda: self._inbox.retry(claim, failure, delay)  # noqa: E731
        try:
            recorded = write()
        except Exception as trouble:
            # The database is away while we speak, and was, perhaps, when the handler failed: whatever it made of that.
            if (pardons := self._inbox.pardons(trouble)) and self._interrupted(claim, error, pardons):
                return Result(Outcome.HANDED_BACK, error)
            recorded = self._outages.wait_out(write)
        # Not ours any more: another attempt has it, or a commit that seemed to fail had reached the database after all.
        return result if recorded else Result(Outcome.NOT_OURS, error)
