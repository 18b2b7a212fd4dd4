"""Runs the deliveries of one message in one call of a batch handler.

A batch that fails leaves nothing. Each of its deliveries comes again by itself, with no attempt counted, and so has the
outcome that it would have had without neighbours.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import Connection

from events.delivery.endings import Endings
from events.delivery.tools import Tools
from events.delivery.verdict import Results
from events.errors import EventDataError, NewerEvent, PartlySent
from events.event import DomainEvent
from events.handling import Handler, Wanted
from events.ledger import Claim, Outcome, Result, decode


class BatchRunner:
    """Runs the batches of one process."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def run(self, handler: Handler, claims: Sequence[Claim]) -> Results:
        """Run one attempt of each delivery, all in one call, and write the outcomes. Returns them."""
        with Endings() as endings:
            with self._tools.heartbeat.keep(claims, lambda: None):
                events, results = self._read(handler, claims)
                if readable := [claim for claim in claims if claim.envelope.id in events]:
                    results |= self._run(handler, readable, list(events.values()), endings)
            endings.committed = Outcome.SUCCEEDED in {result.outcome for result in results.values()}
        return results

    def _read(self, handler: Handler, claims: Sequence[Claim]) -> tuple[dict[UUID, DomainEvent], Results]:
        """The events, by id; and the results of the deliveries whose events can't be read."""
        events: dict[UUID, DomainEvent] = {}
        results: Results = {}
        for claim in claims:
            try:
                events[claim.envelope.id] = decode(claim.envelope)
            except (EventDataError, NewerEvent) as error:
                results[claim.envelope.id] = self._tools.judge.failed(handler, claim, error)
        return events, results

    def _run(
        self, handler: Handler, claims: Sequence[Claim], events: Sequence[DomainEvent], endings: Endings
    ) -> Results:
        tools, done = self._tools, claims
        failed: Mapping[str, Exception] = {}
        try:
            with tools.inbox.begin(eager=True) as connection:
                failed = self._call(handler, claims, events, connection, endings)
                done = [claim for claim in claims if str(claim.envelope.id) not in failed]
                if done:
                    tools.inbox.succeed(connection, done)
        except BaseException as error:
            if tools.stopping(error):
                raise
            if not (done and tools.judge.was_committed(done[0], error)):
                return tools.judge.take_apart(claims, error)
        results = {
            claim.envelope.id: tools.judge.failed(handler, claim, failed[str(claim.envelope.id)])
            for claim in claims
            if str(claim.envelope.id) in failed
        }
        return results | {claim.envelope.id: Result(Outcome.SUCCEEDED) for claim in done}

    def _call(
        self,
        handler: Handler,
        claims: Sequence[Claim],
        events: Sequence[DomainEvent],
        connection: Connection,
        endings: Endings,
    ) -> Mapping[str, Exception]:
        """Call the handler. Returns the errors of the events that failed alone, by event id.

        Raises:
            Exception: every error that undoes the whole batch.
        """
        with self._tools.inbox.lend(connection, handler.name):
            try:
                endings.add(self._tools.calls.run(handler, claims, events, connection))
            except PartlySent as error:
                if handler.needs.wanted != {Wanted.EVENTS}:
                    raise  # it was given the transaction, and may have written rows for all events there
                return error.failed
        return {}
