"""A migrated ledger under test, and the few words that tests say to it."""

import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
from sqlalchemy import Text, cast, event, func, select, text, update

from events.ledger.envelope import Envelope
from events.ledger.records import Claim, Failure, Handled, Subscription, Wakeup, WorkerInfo
from events.settings.settings import Settings
from events.store import Ledger, open_ledger
from events.store.leases import is_running
from events.store.schema.postgres_schema import named, schema
from events.store.tables import event_deliveries, event_store

NOW, HOUR, PAST = timedelta(0), timedelta(hours=1), timedelta(hours=-1)
OOPS = Failure("ValueError", "no", "Traceback ...")


class Store:
    """A migrated ledger, and the few words that tests say to it."""

    def __init__(self, url: str, **settings: str) -> None:
        self.settings = Settings(database_url=url, broker_url="", **settings)  # type: ignore[arg-type]
        self.ledger: Ledger = open_ledger(self.settings)
        self.sqlite = self.settings.database_url.startswith("sqlite")
        self.path = self.ledger.engine.url.database or ""
        self.url = url

    @contextmanager
    def statements(self) -> Iterator[list[tuple[str, Any]]]:
        """What the block sends to the database, on either of the ledger's engines, each with its parameters."""
        seen: list[tuple[str, Any]] = []

        def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
            seen.append((statement, parameters))

        engines = (self.ledger.engine, self.ledger.background)
        for engine in engines:
            event.listen(engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            for engine in engines:
                event.remove(engine, "before_cursor_execute", note)

    def publish(self, *ids: UUID, event_type: str = "Said") -> UUID:
        ids = ids or (uuid4(),)
        with self.ledger.events.begin() as connection:
            self.ledger.events.append(connection, [envelope(one, event_type) for one in ids])
        return ids[0]

    def subscribe(
        self, handler: str = "hear", max_attempts: int = 2, queue: str = "q", event_type: str = "Said"
    ) -> None:
        self.ledger.subscriptions.subscribe(
            [Subscription(event_type=event_type, handler=handler, queue=queue, max_attempts=max_attempts)]
        )

    def take(self, limit: int = 1000, stale_after: timedelta = HOUR) -> list[Wakeup]:
        self.ledger.outbox.fan_out(1000)
        return self.take_due("q", limit, stale_after)

    def take_due(
        self, queue: str, limit: int, stale_after: timedelta = HOUR, handlers: Collection[Handled] | None = None
    ) -> list[Wakeup]:
        """Each in a message of its own."""
        with self.ledger.outbox.due(queue, limit, handlers) as due:
            due.mark([(one.wakeup,) for one in due.deliveries], stale_after)
        return [one.wakeup for one in due.deliveries]

    def take_passed(self, *handlers: str, queue: str = "q", limit: int = 10, form: str = "1:a") -> list[Wakeup]:
        """What others passed on, of these handlers, as code takes it that has this form of their event."""
        these = [(name, "Said") for name in handlers]
        groups = self.ledger.outbox.take_passed([queue], limit, HOUR, these, [("Said", form)])
        return [wakeup for (wakeup,) in groups]

    def claim(self, wakeup: Wakeup, lease: timedelta = HOUR) -> Claim:
        (claim,) = self.ledger.inbox.claim(wakeup.handler, {wakeup.event_id: wakeup.token}, "w1", lease)
        return claim

    def running(self, lease: timedelta = HOUR, max_attempts: int = 2) -> Claim:
        self.subscribe(max_attempts=max_attempts)
        self.publish()
        return self.claim(self.take()[0], lease)

    def dead(self, count: int = 1) -> list[UUID]:
        """That many dead letters, oldest first."""
        self.subscribe()
        buried = []
        for _ in range(count):
            self.publish()
            claim = self.claim(self.take()[0])
            assert self.ledger.inbox.bury(claim, OOPS)
            buried.append(claim.envelope.id)
        return buried

    def row(self, event_id: UUID, handler: str = "") -> Any:
        """The delivery to that handler, or the only one."""
        query = select(event_deliveries).where(event_deliveries.c.event_id == event_id)
        if handler:
            query = query.where(event_deliveries.c.handler == handler)
        with self.ledger.engine.connect() as connection:
            return connection.execute(query).one()

    def is_running(self, wakeup: Wakeup) -> bool:
        """Whether this delivery runs, by its own row or by the lease of its message."""
        mine = (event_deliveries.c.event_id == wakeup.event_id, event_deliveries.c.handler == wakeup.handler)
        with self.ledger.engine.connect() as connection:
            return connection.scalar(select(func.count()).where(*mine, is_running())) == 1

    @staticmethod
    def worker(name: str, handlers: dict[str, dict[str, str]]) -> WorkerInfo:
        return WorkerInfo(name, "host", 1, "0", "prefork", 2, 5, ["q"], handlers)

    def count(self, table: Any = event_store) -> int:
        with self.ledger.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(table)) or 0

    def count_of(self, table: str, where: str) -> int:
        with self.ledger.engine.connect() as connection:
            return int(connection.scalar(text(f"SELECT count(*) FROM {named(table)} WHERE {where}")))

    def foreign(self, statement: str, *values: Any) -> None:
        """Run SQL as a program does that knows nothing of this package; parameters are written `?`."""
        if self.sqlite:
            with closing(sqlite3.connect(self.path)) as connection:
                connection.execute(statement, values)
                connection.commit()
        else:
            where = f"-c search_path={schema()}" if schema() else None
            with psycopg.connect(self.url, options=where) as connection:
                connection.execute(statement.replace("?", "%s"), values)


def envelope_columns() -> list[Any]:
    """What an Envelope is made of, as a worker reads it."""
    texts = {"event_data", "metadata"}
    return [
        cast(event_store.c[name], Text).label(name) if name in texts else event_store.c[name]
        for name in Envelope.__dataclass_fields__
        if name in event_store.c
    ]


def envelope(event_id: UUID, event_type: str = "Said") -> Envelope:
    return Envelope(event_id, "a-1", event_type, '{"n": 1}', 1, datetime.now(UTC), 1, "{}")


def together(*actions: Callable[[], Any]) -> list[Any]:
    """Run all at once, each in its own thread; their results. An error in one is the test's."""
    barrier, results, errors = threading.Barrier(len(actions)), [None] * len(actions), []

    def run(index: int, action: Callable[[], Any]) -> None:
        try:
            barrier.wait()
            results[index] = action()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def make_due(store: Store, since: timedelta = NOW) -> None:
    """Let the time of every delivery come, or have come so long ago."""
    due_at = datetime.now(UTC) - since if since else event_deliveries.c.created_at
    with store.ledger.events.begin() as connection:
        connection.execute(update(event_deliveries).values(due_at=due_at))
