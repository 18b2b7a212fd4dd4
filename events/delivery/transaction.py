"""Calls a handler in a transaction that it must not end, for one delivery or for a batch of them."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from events.delivery.calling import call
from events.delivery.guests import Waiting, guests
from events.delivery.provided import Provided
from events.delivery.session import HandlerSession, handler_session
from events.errors import TransactionMisused
from events.event import DomainEvent
from events.handling import Delivery, Handler, Wanted
from events.hooks import Hooks
from events.ledger import Claim, Shared
from events.publishing import RunningInThread, connection_of, running


class Calls:
    """Calls handlers inside the watchers' contexts, and knows how long each delivery in hand took.

    Threads may share it.

    Args:
        provided: makes what handlers ask for by types of the application's own.
    """

    def __init__(self, hooks: Hooks, provided: Provided) -> None:
        self._hooks = hooks
        self.provided = provided
        self._took: dict[tuple[UUID, str], float] = {}

    def run(
        self,
        handler: Handler,
        claims: Sequence[Claim],
        events: Sequence[DomainEvent],
        connection: Connection,
        shared: Shared | None = None,
    ) -> Waiting | None:
        """Do the same as `run_handler`, which says the rest, inside the watchers' contexts."""
        with self.around(handler, claims):
            return run_handler(handler, claims, events, connection, self.provided, shared)

    @contextmanager
    def around(self, handler: Handler, claims: Sequence[Claim]) -> Iterator[None]:
        """The watchers' contexts; what the block takes is how long these deliveries took."""
        around = self._hooks.around(claims)
        begun = time.perf_counter()
        try:
            with around or nullcontext():
                yield
        finally:
            each = (time.perf_counter() - begun) / len(claims)
            self._took |= {(claim.envelope.id, handler.name): each for claim in claims}

    def took(self, claim: Claim) -> float:
        """The seconds that this delivery spent in the handler, 0 if the handler wasn't called."""
        return self._took.get((claim.envelope.id, claim.handler), 0.0)

    def forget(self, claims: Sequence[Claim]) -> None:
        """These deliveries are no longer in hand."""
        for claim in claims:
            self._took.pop((claim.envelope.id, claim.handler), None)


def run_handler(
    handler: Handler,
    claims: Sequence[Claim],
    events: Sequence[DomainEvent],
    connection: Connection,
    provided: Provided,
    shared: Shared | None = None,
) -> Waiting | None:
    """Call the handler once, with all these events. Its changes are flushed, and not committed.

    Args:
        shared: the transaction, if other deliveries have their part in it.
    Returns:
        What has to be told how the transaction ended; None if there is nothing.
    Raises:
        TransactionMisused: the handler ended the transaction.
        Exception: every error that the handler raises.
    """
    transaction = connection.get_transaction()
    wanted = handler.needs.wanted
    session: HandlerSession | None = None
    if Wanted.SESSION in wanted:
        session = handler_session(handler.needs.session)(connection, handler.name)
    if shared is not None and not {Wanted.SESSION, Wanted.CONNECTION}.isdisjoint(wanted):
        shared.secure()
    secure = shared.secure if shared is not None else _nothing

    def joined() -> Connection:
        if session is not None:
            return connection_of(session)
        secure()
        return connection

    joining = guests(connection, handler.name, secure)
    waiting = Waiting(session, joining) if session is not None or joining else None
    delivery = RunningInThread(handler.name, events[0] if len(events) == 1 else None, joined)
    token = running.set(delivery)
    try:
        try:
            given = {Wanted.CONNECTION: connection, Wanted.SESSION: session}
            function = provided.call_of(handler, giving(handler, claims, events, given))
            call(function, arguments_of(handler, claims, events, given), handler.name)
            if connection.get_transaction() is not transaction or not connection.in_transaction():
                raise ended_by(handler)
            if session is not None:
                session.finish()
            for guest in joining:
                guest.finish()
            if shared is not None:
                shared.end()
        finally:
            running.reset(token)
            delivery.end()
            for guest in joining:
                guest.leave()
    except BaseException:
        if session is not None:
            session.close()
        if waiting is not None:
            waiting.over(committed=False)
        raise
    return waiting


def _nothing() -> None: ...


def ended_by(handler: Handler) -> TransactionMisused:
    """The error of a handler that has ended the transaction."""
    return TransactionMisused(
        f"handler {handler.name!r} rolled back the delivery's own transaction; use a savepoint (begin_nested) or raise "
        f"an error"
    )


def arguments_of(
    handler: Handler, claims: Sequence[Claim], events: Sequence[DomainEvent], given: Mapping[Wanted, Any]
) -> dict[str, Any]:
    """What to pass to each parameter of the handler. `given`: what it gets of the delivery's transaction."""
    give = giving(handler, claims, events, given)
    return {parameter: give(wanted) for parameter, wanted in handler.wants.items()}


def giving(
    handler: Handler, claims: Sequence[Claim], events: Sequence[DomainEvent], given: Mapping[Wanted, Any]
) -> Callable[[Wanted], Any]:
    """What gives a handler, and those that provide for it, what is of the delivery."""

    def give(wanted: Wanted) -> Any:
        if wanted is Wanted.EVENT:
            return events[0]
        if wanted is Wanted.EVENTS:
            return list(events)
        if wanted in given:
            return given[wanted]
        deliveries = [_delivery(handler, claim, event) for claim, event in zip(claims, events, strict=True)]
        return deliveries if wanted is Wanted.DELIVERIES else deliveries[0]

    return give


def _delivery(handler: Handler, claim: Claim, event: DomainEvent) -> Delivery:
    return Delivery(
        event_id=event.event_id,
        event_type=claim.envelope.event_type,
        handler=handler.name,
        attempt=claim.attempt,
        max_attempts=handler.retry.max_attempts,
        worker=claim.worker,
        correlation_id=event.metadata.correlation_id or str(event.event_id),
    )
