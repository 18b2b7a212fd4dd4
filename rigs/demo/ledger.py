"""What became of this run's events, asked of the database alone: of the ledger's tables and of the example's own."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, String, column, distinct, func, select, table, tuple_
from sqlalchemy.sql import Select

from events.store import Id
from handlers.library import FeedItem, Follower, Notification

HANDLERS = ("add_to_feed", "notify_followers")
OUTCOMES = ("succeeded", "dead", "discarded")

_store = table("event_store", column("id", Id()), column("aggregate_id", String()))
_deliveries = table(
    "event_deliveries",
    *(column("event_id", Id()), column("handler", String()), column("state", String()), column("attempts")),
    *(column("first_started_at"), column("error_type", String()), column("error", String())),
)


@dataclass(frozen=True)
class DeadGroup:
    """Dead letters of one handler that died of the same error."""

    handler: str
    error_type: str
    count: int
    event_id: UUID
    error: str

    @property
    def error_name(self) -> str:
        return self.error_type.rpartition(".")[2]


class Ledger:
    """Reads what belongs to some libraries, which are those of one run."""

    def __init__(self, engine: Engine, libraries: Collection[UUID]) -> None:
        self._engine = engine
        self._libraries = list(libraries)
        self._names = [str(library) for library in libraries]

    def states(self) -> Counter[tuple[str, str]]:
        """(handler, state) -> how many deliveries."""
        found = self._of_deliveries(_deliveries.c.handler, _deliveries.c.state, func.count())
        found = found.group_by(_deliveries.c.handler, _deliveries.c.state)
        return Counter({(handler, state): count for handler, state, count in self._all(found)})

    def events(self) -> int:
        return self._one(select(func.count()).select_from(_store).where(_store.c.aggregate_id.in_(self._names)))

    def with_all_deliveries(self) -> int:
        """How many events have a delivery for every handler."""
        each = self._of_deliveries(_deliveries.c.event_id).group_by(_deliveries.c.event_id)
        each = each.having(func.count(distinct(_deliveries.c.handler)) == len(HANDLERS))
        return self._one(select(func.count()).select_from(each.subquery()))

    def running(self) -> list[tuple[Any, str]]:
        """The deliveries that a worker has begun and not ended."""
        running = _deliveries.c.state == "running"
        return [tuple(row) for row in self._all(self._keys().where(running))]

    def attempts(self, keys: Collection[tuple[Any, str]] | None = None) -> Counter[int]:
        """Number of attempts -> how many deliveries took it; of these deliveries, or of all."""
        found = self._of_deliveries(_deliveries.c.attempts, func.count().label("number")).group_by(
            _deliveries.c.attempts
        )
        if keys is not None:
            found = found.where(tuple_(_deliveries.c.event_id, _deliveries.c.handler).in_(list(keys)))
        return Counter({row.attempts: row.number for row in self._all(found)})

    def first_starts(self) -> list[tuple[UUID, datetime]]:
        started = _deliveries.c.first_started_at
        found = self._of_deliveries(_deliveries.c.event_id, started).where(started.is_not(None))
        return [(event_id, _as_time(at)) for event_id, at in self._all(found)]

    def dead(self) -> list[DeadGroup]:
        """Dead letters, the largest group first, with the first of each as its example."""
        found = self._of_deliveries(
            *(_deliveries.c.handler, _deliveries.c.error_type, _deliveries.c.event_id, _deliveries.c.error)
        ).where(_deliveries.c.state == "dead")
        letters = self._all(found.order_by(_deliveries.c.event_id))
        counts = Counter((letter.handler, letter.error_type) for letter in letters)
        first = {(letter.handler, letter.error_type): letter for letter in reversed(letters)}
        return [
            DeadGroup(handler, error_type or "unknown", count, example.event_id, example.error or "")
            for (handler, error_type), count in counts.most_common()
            if (example := first[handler, error_type])
        ]

    def feed_items(self) -> int:
        return self._one(select(func.count()).select_from(FeedItem).where(FeedItem.library_id.in_(self._libraries)))

    def notifications(self) -> int:
        found = select(func.count()).select_from(Notification).join(Follower, Follower.id == Notification.follower_id)
        return self._one(found.where(Follower.library_id.in_(self._libraries)))

    def succeeded(self, handler: str) -> Counter[UUID]:
        """Library -> how many of its cards' events this handler handled."""
        found = self._of_deliveries(_store.c.aggregate_id, func.count()).group_by(_store.c.aggregate_id)
        found = found.where(_deliveries.c.handler == handler, _deliveries.c.state == "succeeded")
        return Counter({UUID(library): count for library, count in self._all(found)})

    def _keys(self) -> Select[Any]:
        return self._of_deliveries(_deliveries.c.event_id, _deliveries.c.handler)

    def _of_deliveries(self, *columns: Any) -> Select[Any]:
        joined = _deliveries.join(_store, _store.c.id == _deliveries.c.event_id)
        ours = _store.c.aggregate_id.in_(self._names), _deliveries.c.handler.in_(HANDLERS)
        return select(*columns).select_from(joined).where(*ours)

    def _all(self, query: Select[Any]) -> list[Any]:
        with self._engine.connect() as connection:
            return list(connection.execute(query))

    def _one(self, query: Select[Any]) -> int:
        with self._engine.connect() as connection:
            return int(connection.scalar(query) or 0)


def _as_time(value: Any) -> datetime:
    """PostgreSQL gives a time, SQLite the text that it stores, which is in UTC."""
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return at if at.tzinfo else at.replace(tzinfo=UTC)
