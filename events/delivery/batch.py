"""Deliveries of one message, in one call of a batch handler.

A batch that fails leaves nothing: each comes again by itself, with no attempt counted, and so it has the outcome that
it would have had without neighbours.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import Connection

from events.delivery.session import Sessions
from events.delivery.tools import Tools
from events.delivery.verdict import Results
from events.errors import EventDataError, NewerEvent, PartlySent
from events.event import DomainEvent
from events.handling import Handler, Wanted
from events.ledger import Claim, Outcome, Result, decode


class BatchRunner:
    """Runs batches."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def run(self, handler: Handler, claims: Sequence[Claim]) -> Results:
        """One attempt of each, all in one call; what became of them is written."""
        with Sessions() as sessions:
            with self._tools.heartbeat.keep(claims, lambda: None):
                events, results = self._read(handler, claims)
                if readable := [claim for claim in claims if claim.envelope.id in events]:
                    results |= self._run(handler, readable, list(events.values()), sessions)
            sessions.committed = Outcome.SUCCEEDED in {result.outcome for result in results.values()}
        return results

    def _read(self, handler: Handler, claims: Sequence[Claim]) -> tuple[dict[UUID, DomainEvent], Results]:
        """The events, by id; and of those that can't be read, what becomes of them."""
        events: dict[UUID, DomainEvent] = {}
        results: Results = {}
        for claim in claims:
            try:
                events[claim.envelope.id] = decode(claim.envelope)
            except (EventDataError, NewerEvent) as error:
                results[claim.envelope.id] = self._tools.judge.failed(handler, claim, error)
        return events, results

    def _run(
        self, handler: Handler, claims: Sequence[Claim], events: Sequence[DomainEvent], sessions: Sessions
    ) -> Results:  # fmt: skip
        tools, done = self._tools, claims
        failed: Mapping[str, Exception] = {}
        try:
            with tools.inbox.begin(eager=True) as connection:
                failed = self._call(handler, claims, events, connection, sessions)
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
        self, handler: Handler, claims: Sequence[Claim], events: Sequence[DomainEvent], connection: Connection,
        sessions: Sessions,
    ) -> Mapping[str, Exception]:  # fmt: skip
        """The errors of those that failed for themselves, by event id. Raises what undoes the whole batch."""
        with self._tools.inbox.lend(connection, handler.name):
            try:
                sessions.add(self._tools.calls.run(handler, claims, events, connection))
            except PartlySent as error:
                if set(handler.wants.values()) != {Wanted.EVENTS}:
                    raise  # it may have written for all of them, in the transaction that it was given
                return error.failed
        return {}
