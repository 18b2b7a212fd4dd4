"""What operators ask of the ledger: contracts that the store keeps."""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from sqlalchemy import Connection

from events.ledger.dead_letters import DeadLetter, DeadLetterFilter, FailureGroup, Survey
from events.ledger.history import Action, DeliveryRecord, EventFilter, EventRecord, Found
from events.ledger.overview import MarkedByOthers, Overview, UnhandledType
from events.ledger.parked import Parked, ParkedFilter
from events.ledger.pruned import Pruned


class DeadLetterBox(Protocol):
    """The dead letters of the ledger. Each action is remembered with its actor; repeating an action does nothing."""

    def find(self, wanted: DeadLetterFilter) -> list[DeadLetter]:
        """Return the dead letters, newest first."""

    def count(self, wanted: DeadLetterFilter) -> int: ...

    def between(self, first: UUID, last: UUID, limit: int, *, discarded: bool = False) -> list[UUID]:
        """Return the first `limit` ids, from `first` to `last`, of events with dead letters, or with discarded
        deliveries.
        """

    def groups(self, wanted: DeadLetterFilter) -> list[FailureGroup]:
        """Return the groups of letters that failed alike, the largest first."""

    def survey(self, wanted: DeadLetterFilter, *, grouped: bool = True) -> Survey:
        """Return the answers of `find`, `groups` and `count` at one moment; the filter's limit is for the letters
        alone.
        """

    def replay(self, wanted: DeadLetterFilter, actor: str) -> int:
        """Make dead letters due at once, with all their attempts, the oldest first; return their number."""

    def discard(self, wanted: DeadLetterFilter, actor: str) -> int:
        """Give dead letters up, until they are restored or pruned; the rows stay. Returns their number."""

    def restore(self, wanted: DeadLetterFilter, actor: str) -> int:
        """Make discarded deliveries dead letters again, but not those that a corrected copy replaced; return their
        number.
        """

    def correct(self, event_id: UUID, handler: str, data: str, corrected_id: UUID, actor: str) -> bool:
        """Discard a dead letter, and deliver a copy of its event, with this id and this data, to its handler alone.

        One transaction. Returns False, with nothing done, if the delivery is not dead.
        """


class History(Protocol):
    """The events in the ledger, and everything that happened to them."""

    def event(self, event_id: UUID) -> EventRecord | None:
        """Return an event with its deliveries, failed attempts, operators' actions and the events that it caused."""

    def find(self, wanted: EventFilter) -> list[Found]:
        """Return the events, newest first."""

    def between(self, first: UUID, last: UUID, limit: int) -> list[UUID]:
        """Return the first `limit` ids of events, from `first` to `last`."""

    def deliveries(self, event_ids: Collection[UUID]) -> dict[UUID, list[DeliveryRecord]]:
        """Return the deliveries of these events, by event id."""


class Lineage(Protocol):
    """Which handlers take which events, and which events they publish."""

    def subscribed(self) -> dict[str, set[str]]:
        """Return for each handler the event types that it takes."""

    def caused(self, limit: int) -> dict[str, set[str]]:
        """Return for each event type the types of the events in whose handlers it was published.

        Looks at the newest `limit` events that have a cause.
        """


class Overviews(Protocol):
    """The ledger in numbers."""

    def take(self, *, finished: bool = True, newest: int = 0) -> Overview:
        """Return the ledger at one moment, with `newest` of its newest events.

        `finished=False` leaves out the counts of finished events and deliveries, and is cheap however many there are.
        """

    def unfinished(self) -> Overview:
        """Return the cheap overview, without finished events and deliveries."""

    def marked_by_others(self) -> MarkedByOthers:
        """Count the events that another program marked as processed; cheap unless it marked many within a day."""

    def running(self) -> list[tuple[str, float, str, int]]:
        """Return for each handler the seconds that its oldest delivery has run, the worker of that delivery, and how
        many run.
        """


class Switches(Protocol):
    """Pauses, resumes and retires handlers; each action is remembered with its actor."""

    def pause(self, handler: str, actor: str) -> bool:
        """From now on, start no delivery of the handler; False if it was paused already.

        Raises:
            StillStarting: a transaction that may not have seen the pause doesn't end.
        """

    def running(self, handler: str) -> int:
        """Return the number of the handler's deliveries that were started before, and go on."""

    def hold(self, handler: str, limit: int) -> int:
        """If the handler is paused, hold back up to `limit` deliveries that wait to be sent or started; return their
        number.
        """

    def resume(self, handler: str, actor: str) -> bool:
        """Let the relay send the waiting deliveries again; False if the handler was not paused."""

    def waiting(self, handler: str, event_type: str | None = None) -> int:
        """Return how many of the handler's deliveries no worker has begun, with those that will be made of events;
        `event_type` counts only one type.
        """

    def note(self, action: Action, actor: str, deliveries: Sequence[tuple[UUID, str]]) -> None:
        """Remember what an operator asked a worker to do with these deliveries, given by event id and handler."""

    def unsubscribe(
        self, handler: str, actor: str, event_type: str | None = None, check: Callable[[], None] = lambda: None
    ) -> bool:
        """End the handler's subscription to this event type, or to all; False if there was none.

        Deliveries of all events that wait for the handler are made first. Once this method returns, no new delivery
        comes. `check` may raise: while it runs, no worker can subscribe unseen.
        """

    def drop(self, handler: str, actor: str, limit: int, event_type: str | None = None) -> int:
        """Discard up to `limit` of the handler's deliveries that no worker has begun; return their number.

        Deliveries of event types that the handler is subscribed to are kept.

        Raises:
            StillStarting: another transaction keeps the deliveries locked.
        """


class ParkingLot(Protocol):
    """Messages that are not wake-ups of ours."""

    def park(self, message: Parked) -> None:
        """Keep a message, durable on return. A message whose id was parked already is left as it is."""

    def find(self, wanted: ParkedFilter) -> list[Parked]:
        """Return the parked messages, newest first."""

    def between(self, first: UUID, last: UUID, limit: int, *, discarded: bool = False) -> list[UUID]:
        """Return the first `limit` ids, from `first` to `last`, of parked messages, or of discarded ones."""

    def counts(self, *, discarded: bool = False) -> dict[str, int]:
        """Return the number of parked, or discarded, messages, by reason."""

    def replay(self, wanted: ParkedFilter, send: Callable[[Parked, Connection], bool]) -> int:
        """Give each message to `send` and mark it as replayed, one transaction a message; return their number.

        A message is replayed once, even if an operator clicks twice. `send` gets the transaction, too, and may return
        False: then the message stays parked.
        """

    def discard(self, wanted: ParkedFilter) -> int:
        """Give parked messages up, until they are restored or pruned; the rows stay. Returns their number."""

    def restore(self, wanted: ParkedFilter) -> int:
        """Park discarded messages again; return their number."""


class Unhandled(Protocol):
    """Events that wait for a handler, since no handler has subscribed to their type."""

    def types(self) -> list[UnhandledType]:
        """Return the types of these events, the most numerous first."""

    def count(self, event_types: Collection[str], older_than: timedelta) -> int:
        """Return how many waiting events of these types were stored so long ago."""

    def drop(self, event_types: Collection[str], older_than: timedelta, batch: int) -> Iterator[int]:
        """Delete those events, `batch` in a transaction; yield the number of each transaction.

        Events that were fanned out, or whose type a handler has subscribed to by then, are kept.
        """


class Retention(Protocol):
    """Deletes what is finished and old, for an operator."""

    def prune(self, older_than: timedelta, batch: int, *, dry_run: bool = False) -> Iterator[Pruned]:
        """Delete old events with their deliveries, and parked messages that were closed as long ago.

        An event is deleted if it has this age, and each of its deliveries succeeded or was discarded as long ago. Each
        `batch` of events that is looked at is one transaction, whose numbers are yielded: a caller that stops early
        loses none of the work.
        """
