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
    """The dead letters of the ledger. What is done to them is remembered, with who did it; twice does nothing."""

    def find(self, wanted: DeadLetterFilter) -> list[DeadLetter]:
        """Newest first."""

    def count(self, wanted: DeadLetterFilter) -> int: ...

    def between(self, first: UUID, last: UUID, limit: int, *, discarded: bool = False) -> list[UUID]:
        """The first so many ids, from one to another, of events that have dead letters, or discarded ones."""

    def groups(self, wanted: DeadLetterFilter) -> list[FailureGroup]:
        """The largest first."""

    def survey(self, wanted: DeadLetterFilter, *, grouped: bool = True) -> Survey:
        """What `find`, `groups` and `count` say, at one moment; the filter's limit is for the letters alone."""

    def replay(self, wanted: DeadLetterFilter, actor: str) -> int:
        """Due at once, with all its attempts, the oldest first; how many were. Only dead ones."""

    def discard(self, wanted: DeadLetterFilter, actor: str) -> int:
        """Given up, until they are restored or pruned; the rows stay. How many were."""

    def restore(self, wanted: DeadLetterFilter, actor: str) -> int:
        """What was discarded, and not for the sake of a corrected copy, is a dead letter again; how many were."""

    def correct(self, event_id: UUID, handler: str, data: str, corrected_id: UUID, actor: str) -> bool:
        """Discard a dead letter, and deliver a copy of its event, with this id and this data, to its handler alone.

        One transaction; False, and nothing is done, if it is not dead.
        """


class History(Protocol):
    """What became of events."""

    def event(self, event_id: UUID) -> EventRecord | None:
        """One event with its deliveries, its attempts that failed, what operators did and what it caused."""

    def find(self, wanted: EventFilter) -> list[Found]:
        """Newest first."""

    def between(self, first: UUID, last: UUID, limit: int) -> list[UUID]:
        """The first so many ids of events, from one to another."""

    def deliveries(self, event_ids: Collection[UUID]) -> dict[UUID, list[DeliveryRecord]]:
        """Of these events, by event id."""


class Lineage(Protocol):
    """Who takes which events, and what came of them."""

    def subscribed(self) -> dict[str, set[str]]:
        """Handler to the event types that it takes."""

    def caused(self, limit: int) -> dict[str, set[str]]:
        """Event type to the types of the events in whose handlers it was published; of the newest `limit` of those."""


class Overviews(Protocol):
    """The ledger in numbers."""

    def take(self, *, finished: bool = True, newest: int = 0) -> Overview:
        """As it stands at one moment, with so many of its newest events.

        Without what is `finished` it is cheap however much that is: its counts are then left out.
        """

    def unfinished(self) -> Overview:
        """The cheap one."""

    def marked_by_others(self) -> MarkedByOthers:
        """What another program marked as processed; cheap unless that was much within a day."""

    def running(self) -> list[tuple[str, float, str, int]]:
        """By handler: for how many seconds the oldest delivery has run, on which worker, and how many run."""


class Switches(Protocol):
    """Handlers that are paused or gone; what is done is remembered, with who did it."""

    def pause(self, handler: str, actor: str) -> bool:
        """From now on none of its deliveries is started; False if it was paused already.

        Raises StillStarting if a transaction that may not know of it doesn't end.
        """

    def running(self, handler: str) -> int:
        """Its deliveries that were started before, and go on."""

    def hold(self, handler: str, limit: int) -> int:
        """Up to so many deliveries that wait to be sent or started are held back, if it is paused; how many were."""

    def resume(self, handler: str, actor: str) -> bool:
        """What waits is sent again, by the relay; False if it was not paused."""

    def waiting(self, handler: str, event_type: str | None = None) -> int:
        """Its deliveries that nobody has begun; of one event type, if one is given."""

    def note(self, action: Action, actor: str, deliveries: Sequence[tuple[UUID, str]]) -> None:
        """Remember what was asked of a worker about these deliveries, by event id and handler."""

    def unsubscribe(
        self, handler: str, actor: str, event_type: str | None = None, check: Callable[[], None] = lambda: None
    ) -> bool:
        """It wants no more events, of this type or any; False if it was not subscribed to any.

        Once this returns none comes any more. `check` may raise: while it looks, no worker can subscribe unseen.
        """

    def drop(self, handler: str, actor: str, limit: int, event_type: str | None = None) -> int:
        """Up to so many of its deliveries that nobody has begun are discarded; how many were. None of those that it
        is subscribed to. Raises StillStarting if another transaction doesn't let go of them."""


class ParkingLot(Protocol):
    """Messages that are no wake-up of ours."""

    def park(self, message: Parked) -> None:
        """Keep a message, durable on return. An id that was parked already is left as it is."""

    def find(self, wanted: ParkedFilter) -> list[Parked]:
        """Newest first."""

    def between(self, first: UUID, last: UUID, limit: int, *, discarded: bool = False) -> list[UUID]:
        """The first so many ids, from one to another, of parked messages, or of discarded ones."""

    def counts(self, *, discarded: bool = False) -> dict[str, int]:
        """How many are parked, or discarded, by reason."""

    def replay(self, wanted: ParkedFilter, send: Callable[[Parked, Connection], bool]) -> int:
        """Give each to `send` and mark it replayed, one transaction a message; how many. A second click finds none.

        `send` is given the transaction, too, and may refuse (False): then the message stays parked.
        """

    def discard(self, wanted: ParkedFilter) -> int:
        """Given up, until they are restored or pruned; the rows stay. How many were."""

    def restore(self, wanted: ParkedFilter) -> int:
        """What was discarded is parked again; how many were."""


class Unhandled(Protocol):
    """Events that wait for a handler, since nobody has subscribed to their type."""

    def types(self) -> list[UnhandledType]:
        """The most numerous first."""

    def count(self, event_types: Collection[str], older_than: timedelta) -> int:
        """How many of these types were stored so long ago, and wait."""

    def drop(self, event_types: Collection[str], older_than: timedelta, batch: int) -> Iterator[int]:
        """Delete those, `batch` in a transaction; yields how many. None that was fanned out, or whose type a handler
        has subscribed to by then."""


class Retention(Protocol):
    """Forgets what is finished and old, for an operator."""

    def prune(self, older_than: timedelta, batch: int, *, dry_run: bool = False) -> Iterator[Pruned]:
        """Delete events of that age whose deliveries all succeeded or were discarded as long ago, with these, and
        parked messages that were closed as long ago; a transaction for each `batch` events that it looks at. Yields
        what each did, so that whoever stops it loses nothing of what is done."""
