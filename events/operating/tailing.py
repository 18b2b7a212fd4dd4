"""Follows events as they are published, and the outcomes of their deliveries."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from events.ledger import DeadLetterFilter, DeliveryRecord, EventFilter, Found, State
from events.operating.dead_letters import DeadLetters
from events.operating.inspection import Inspection
from events.text import first_line

_OVERLAP = timedelta(seconds=10)  # a transaction that began earlier may commit later
_FOLLOWED = 1000  # the newest events, whose deliveries are followed
_AT_ONCE = 500  # events in one look; further ones are told in the next look, if they are within the overlap
_ENDED = (State.SUCCEEDED, State.DEAD, State.DISCARDED)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened to an event, or to its delivery to `handler`.

    Attributes:
        what: the word for what happened, such as "published" or "dead".
        who: the worker.
        detail: the attempt, and the error if there is one.
    """

    at: datetime
    what: str
    event_id: UUID
    event_type: str
    aggregate_id: str = ""
    handler: str = ""
    who: str = ""
    detail: str = ""


class Tail:
    """Looks at the ledger again and again, for one thread. It only reads, and by indexes.

    Args:
        wanted: the events to follow; from now on if the filter has no `since`.
        handler: follow only deliveries to this handler; None for all, and for the publishing, too.
    """

    def __init__(self, history: Inspection, letters: DeadLetters, wanted: EventFilter, handler: str | None) -> None:
        self._history = history
        self._letters = letters
        self._wanted = wanted
        self._handler = handler
        self._since = wanted.since or datetime.now(UTC)
        self._seen: dict[UUID, Found] = {}
        self._open: dict[UUID, Found] = {}
        self._told: dict[tuple[UUID, str], tuple[str, int]] = {}  # by delivery: the state and attempts told last
        self._dead: set[tuple[UUID, str, datetime | None]] = set()

    def look(self) -> list[Happening]:
        """Everything that happened since the last look, in order."""
        since = max(self._since, datetime.now(UTC) - _OVERLAP) if self._seen else self._since
        happenings = [*self._new_events(since), *self._outcomes(), *self._older_dead(since)]
        return sorted(happenings, key=lambda happening: happening.at)

    def _new_events(self, since: datetime) -> Iterator[Happening]:
        wanted = replace(self._wanted, since=since, before=None, limit=_AT_ONCE, sender_id=None)
        for event in self._history.find(wanted):
            if event.event_id in self._seen:
                continue
            self._seen[event.event_id] = self._open[event.event_id] = event
            if self._handler is None:
                at = event.published_at or datetime.now(UTC)
                yield Happening(at, "published", event.event_id, event.event_type, event.aggregate_id)
        for known in list(self._seen)[: -10 * _FOLLOWED]:
            del self._seen[known]
        for known in list(self._open)[:-_FOLLOWED]:
            self._forget(known)

    def _outcomes(self) -> Iterator[Happening]:
        for event_id, deliveries in self._history.deliveries(list(self._open)).items():
            event = self._open[event_id]
            for delivery in deliveries:
                if self._handler is None or delivery.handler == self._handler:
                    yield from self._outcome(event, delivery)
            if all(delivery.state in _ENDED for delivery in deliveries):
                self._forget(event_id)

    def _outcome(self, event: Found, delivery: DeliveryRecord) -> Iterator[Happening]:
        key, now = (event.event_id, delivery.handler), (delivery.state, delivery.attempts)
        if self._told.get(key) == now:
            return
        self._told[key] = now
        said = first_line(f"{delivery.error_type}: {delivery.error}") if delivery.error_type else ""
        at = delivery.finished_at if delivery.state in _ENDED else delivery.started_at
        what = {
            State.SUCCEEDED: "succeeded",
            State.DEAD: "dead",
            State.DISCARDED: "discarded",
            State.RUNNING: "started",
            State.PAUSED: "paused",
        }.get(State(delivery.state), "to be retried" if said else "")
        if delivery.state == State.DEAD:
            self._dead.add((*key, delivery.finished_at))
        if what:
            parts = [f"attempt {delivery.attempt}"] if delivery.attempt else []
            detail = ": ".join([*parts, said] if said and what != "started" else parts)
            yield Happening(
                at or datetime.now(UTC),
                what,
                event.event_id,
                event.event_type,
                event.aggregate_id,
                delivery.handler,
                delivery.worker or "",
                detail,
            )

    def _older_dead(self, since: datetime) -> Iterator[Happening]:
        """Dead letters of events that were published before the tail began."""
        if self._wanted.correlation_id is not None:
            return
        wanted = DeadLetterFilter(
            handler=self._handler,
            event_type=self._wanted.event_type,
            aggregate_id=self._wanted.aggregate_id,
            since=since,
        )
        for letter in self._letters.find(wanted):
            key = (letter.event_id, letter.handler, letter.died_at)
            if key not in self._dead and letter.died_at is not None:
                self._dead.add(key)
                said = first_line(f"attempt {letter.counted}: {letter.error_type}: {letter.error}")
                yield Happening(
                    letter.died_at,
                    "dead",
                    letter.event_id,
                    letter.event_type,
                    letter.aggregate_id,
                    letter.handler,
                    letter.worker or "",
                    said,
                )

    def _forget(self, event_id: UUID) -> None:
        self._open.pop(event_id, None)
        for key in [key for key in self._told if key[0] == event_id]:
            del self._told[key]
