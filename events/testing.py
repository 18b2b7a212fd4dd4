"""For applications' own tests: events and handlers without a worker or a broker, on a real ledger in a temporary file.

    from events.testing import events_pipeline  # in conftest.py

    def test_a_card_appears_in_the_feed(events_pipeline):
        publish(CardAddedToLibraryEvent(...))
        events_pipeline.run()
        assert ...

`run()` relays and delivers in this process until nothing is due, with the same ledger, retries and dead letters as in
production. Retries are run at once instead of after their delay.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import update

from events.current_pipeline import use_pipeline
from events.handling import check_needs, provided_instead
from events.ledger import DeadLetter, Group, Outcome, Parked, Result, Wakeup
from events.pipeline import Pipeline, late_handlers
from events.relay import TransportFeatures
from events.settings import Settings
from events.store import event_deliveries, migrate, open_ledger


class InlineTransport:
    """Keeps wake-ups until `InlinePipeline.run` takes them."""

    name = "inline"
    features = TransportFeatures(holds_itself=True)

    def __init__(self) -> None:
        self.sent: deque[Group] = deque()

    def send(self, groups: Sequence[Group]) -> None:
        self.sent.extend(groups)

    def send_dead(self, letters: Sequence[DeadLetter]) -> None:
        raise AssertionError(f"it copies no dead letters, and yet came {len(letters)} copies")

    def send_parked(self, message: Parked) -> None:
        raise AssertionError(f"there is no broker that message {message.id} could have come from")

    def waiting(self, queue: str) -> int:
        return sum(group[0].queue == queue for group in self.sent)

    def held(self) -> Sequence[Group]:
        return tuple(self.sent)

    def close(self) -> None:
        self.sent.clear()


class InlinePipeline(Pipeline):
    """A pipeline whose deliveries run in the calling thread, when told to."""

    def __init__(self, settings: Settings) -> None:
        self.inline = InlineTransport()
        super().__init__(settings, self.inline)

    def run(self) -> list[tuple[Wakeup, Result]]:
        """Deliver until nothing is due; every attempt with its outcome, in order. Retries don't wait."""
        late_handlers()
        check_needs()
        self.subscribe()
        relay, deliverer = self.relay(), self.deliverer("inline")
        attempts: list[tuple[Wakeup, Result]] = []
        while relay.step() or self.inline.sent:
            while self.inline.sent:
                group = self.inline.sent.popleft()
                results = deliverer.deliver(group[0].handler, {one.event_id: one.token for one in group})
                for wakeup in group:
                    attempts.append((wakeup, results[wakeup.event_id]))
                    if results[wakeup.event_id].outcome is Outcome.RETRY:
                        self._make_due(wakeup)
        return attempts

    def instead_of(self, kind: Any, thing: object) -> AbstractContextManager[None]:
        """Within the block handlers and factories that ask for this type get this very thing, whoever provides it.

        Raises:
            DefinitionError: this is no type that can be provided.
        """
        return provided_instead(kind, thing)

    def _make_due(self, wakeup: Wakeup) -> None:
        delivery = event_deliveries.c
        with self.ledger.events.begin() as connection:
            connection.execute(
                update(event_deliveries)
                .where(delivery.event_id == wakeup.event_id, delivery.handler == wakeup.handler)
                .values(due_at=delivery.created_at)
            )


@cache
def migrated_file() -> bytes:
    """The bytes of an SQLite file with an empty ledger; writing them is much quicker than migrating."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "events.db")
        ledger = open_ledger(Settings(database_url=f"sqlite:///{file}", broker_url="", ledger_schema=""))
        migrate(ledger.engine)
        ledger.close()
        return file.read_bytes()


@pytest.fixture
def events_pipeline(tmp_path: Path) -> Iterator[InlinePipeline]:
    """A migrated pipeline of its own for one test, used by publish() and the like until the test ends."""
    (tmp_path / "events.db").write_bytes(migrated_file())
    # Settings of the application's own ledger in the environment don't count.
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'events.db'}", broker_url="", ledger_schema="")
    pipeline = InlinePipeline(settings)
    pipeline.migrate()
    use_pipeline(pipeline)
    try:
        yield pipeline
    finally:
        use_pipeline(None)
        pipeline.close()
