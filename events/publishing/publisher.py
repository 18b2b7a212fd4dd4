"""Publishes events: writes them as rows in the caller's transaction. No broker is involved, so none can fail or slow
publish()."""

import json
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.orm import Session, scoped_session

from events.errors import PublishError
from events.event import DomainEvent, Metadata
from events.ledger import CAUSE_SENT_AS, Carrier, EventLog, encode, merged, sender_of
from events.publishing.current import given
from events.publishing.held import can_hold, hold
from events.publishing.joining import Running, running
from events.publishing.sessions import connection_of
from events.publishing.surroundings import Surroundings, check_using
from events.tracing import HEADERS, PublishTracing, carried


class Publisher:
    """Writes events to a ledger.

    Args:
        log: the part of the ledger that stores events.
        max_bytes: limits the data of each event.
        tracing: makes spans; None if OpenTelemetry isn't installed.
        surroundings: the framework to whose transactions a publish() without a session belongs; None if there is none.
    """

    def __init__(
        self,
        log: EventLog,
        max_bytes: int,
        tracing: PublishTracing | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self._log = log
        self._max_bytes = max_bytes
        self._tracing = tracing
        self.surroundings = surroundings

    def publish(
        self,
        events: DomainEvent | Iterable[DomainEvent],
        *,
        session: Session | scoped_session[Any] | Connection | None = None,
        using: str | None = None,
        versions: Sequence[int] = (),
        in_time: bool = False,
        is_text: bool = False,
    ) -> None:
        """See `events.publish`.

        Args:
            versions: the aggregate's version after each event, if the aggregate counts them.
            in_time: write when the transaction commits, if that is of use: many events in one statement, and where
                writing at once would block an event loop.
            is_text: see events.ledger.encode.
        """
        batch = [events] if isinstance(events, DomainEvent) else _as_list(events)
        if session is None and (session := given()) is not None:
            in_time = True
        if self._tracing is None or not self._tracing.is_on():
            self._write(batch, session, using, versions, None, in_time=in_time, is_text=is_text)
        else:
            with self._tracing.publishing(batch) as traces:
                self._write(batch, session, using, versions, traces, in_time=in_time, is_text=is_text)

    def _write(
        self,
        batch: Sequence[DomainEvent],
        session: Session | scoped_session[Any] | Connection | None,
        using: str | None,
        versions: Sequence[int],
        traces: Sequence[Carrier] | None,
        *,
        in_time: bool,
        is_text: bool,
    ) -> None:
        if using is not None:
            check_using(self.surroundings, using, session)
        cause = running.get()
        envelopes = [
            encode(
                event,
                max_bytes=self._max_bytes,
                metadata=_with_causation(event, cause, traces[index] if traces else None),
                version=versions[index] if versions else 1,
                is_text=is_text,
            )
            for index, event in enumerate(batch)
        ]
        if not envelopes:
            return
        if in_time and isinstance(session, Session) and can_hold(session):
            hold(session, self._log.append, envelopes)
        elif session is not None:
            self._log.append(connection_of(session), envelopes)
        elif cause is not None and in_time:
            cause.write_in_time(self._log.append, envelopes)
        elif cause is not None:
            cause.write(partial(self._log.append, envelopes=envelopes))
        elif self.surroundings is not None:
            self.surroundings.write(partial(self._log.append, envelopes=envelopes), using)
        else:
            self._log.append_alone(envelopes)


def _as_list(events: object) -> list[DomainEvent]:
    if not isinstance(events, Iterable) or isinstance(events, (str, bytes, dict)):
        raise PublishError(f"publish() takes an event or several, not {type(events).__name__}")
    return list(events)


def _with_causation(event: DomainEvent, cause: Running | None, trace: Carrier | None) -> Metadata | str:
    """The event's metadata, completed: it has the correlation id and the trace of the event that caused it."""
    if cause is None and isinstance(event, DomainEvent) and not event.metadata.model_fields_set:
        usual = f'{{"correlation_id":"{event.event_id}"}}'  # at a fifth of the price
        return merged(usual, json.dumps(trace)) if trace else usual
    given = event.metadata if isinstance(event, DomainEvent) else Metadata()
    correlation, causation, sender = given.correlation_id, given.causation_id, None
    if cause is not None and cause.event is not None:
        correlation = correlation or cause.event.metadata.correlation_id or str(cause.event.event_id)
        causation = causation or str(cause.event.event_id)
        sender = sender_of(cause.event.event_id, cause.event.metadata.model_extra or {})
    elif correlation is None and isinstance(event, DomainEvent):
        correlation = str(event.event_id)
    if not trace and cause is not None and cause.event is not None and not carried(given):
        trace = carried(cause.event.metadata)  # this process makes no spans: the context is handed on as it is
    completed = {"correlation_id": correlation, "causation_id": causation}
    if sender is not None and given.causation_id is None:
        completed[CAUSE_SENT_AS] = sender[1]  # the id that the cause has at its sender
    if trace:
        completed |= trace
    metadata = given.model_copy(update=completed)
    if trace and metadata.__pydantic_extra__ is not None:
        for name in HEADERS:  # a tracestate of another trace must not stay
            if name not in trace:
                metadata.__pydantic_extra__.pop(name, None)
    return metadata
