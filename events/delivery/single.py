"""Runs a delivery by itself: it has a transaction of its own, so a failure is the handler's own."""

import logging
import time

from events.delivery.endings import Endings
from events.delivery.tools import Tools
from events.errors import LeaseLost
from events.event import DomainEvent
from events.handling import Handler
from events.ledger import Claim, Outcome, Result, decode

log = logging.getLogger("events.delivery")


class SingleRunner:
    """Runs deliveries one at a time. A batch handler gets a batch of one."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def run(self, handler: Handler, claim: Claim) -> Result:
        """Run one attempt, and write the outcome. Returns it."""
        begun = time.monotonic()

        def on_late() -> None:
            self._tools.pacing.note(handler.name, time.monotonic() - begun)

        with Endings() as endings:
            with self._tools.heartbeat.keep([claim], on_late):
                result = self._attempted(handler, claim, endings)
            endings.committed = result.outcome is Outcome.SUCCEEDED
        return result

    def _attempted(self, handler: Handler, claim: Claim, endings: Endings) -> Result:
        try:
            self._attempt_twice(handler, claim, decode(claim.envelope), endings)
        except LeaseLost as error:
            log.warning("%s", error, extra=_log_fields(claim))
            return Result(Outcome.NOT_OURS, error)
        except BaseException as error:
            if self._tools.stopping(error):
                raise
            return self._tools.judge.failed(handler, claim, error)
        return Result(Outcome.SUCCEEDED)

    def _attempt_twice(self, handler: Handler, claim: Claim, event: DomainEvent, endings: Endings) -> None:
        """Run the handler; if its transaction collided with another, once more, with all locks taken first.

        Such a collision is no failure of the handler.
        """
        try:
            self._attempt(handler, claim, event, endings, eager=False)
        except BaseException as error:
            if self._tools.stopping(error) or not self._tools.inbox.is_contention(error):
                raise
            log.info(
                "delivery %s of %s ran into another transaction",
                handler.name,
                claim.envelope.id,
                extra=_log_fields(claim),
            )
            endings.undone()
            self._attempt(handler, claim, event, endings, eager=True)

    def _attempt(self, handler: Handler, claim: Claim, event: DomainEvent, endings: Endings, *, eager: bool) -> None:
        """Call the handler, and commit its effects together with its success."""
        tools = self._tools
        with tools.inbox.begin(eager=eager) as connection:
            begun = time.monotonic()
            with tools.inbox.lend(connection, handler.name) as touches:
                endings.add(tools.calls.run(handler, [claim], [event], connection))
            took = time.monotonic() - begun
            tools.inbox.succeed(connection, [claim])
        if touches():
            tools.pacing.keep_apart(handler.name)
        tools.pacing.note(handler.name, took)  # after the commit: on SQLite the note would wait for our own transaction


def _log_fields(claim: Claim) -> dict[str, object]:
    return {"event_id": claim.envelope.id, "handler": claim.handler, "attempt": claim.attempt}
