"""The contracts of events.ports, kept by the ledger on SQLite and on PostgreSQL alike."""

import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, event, func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from events.envelope import Envelope
from events.errors import ConfigurationError, LeaseLost, SchemaError
from events.ports import Claim, DeadLetterFilter, Failure, State, Subscription, Wakeup
from events.settings import Settings
from events.store import Ledger, check_schema, migrate, open_ledger
from events.store.tables import event_deliveries, event_store, metadata
from support.servers import PostgresDatabase
from support.waiting import eventually

NOW, HOUR, PAST = timedelta(0), timedelta(hours=1), timedelta(hours=-1)
OOPS = Failure("ValueError", "no", "Traceback ...")


class Store:
    """A migrated ledger, and the few words that tests say to it."""

    def __init__(self, url: str) -> None:
        self.settings = Settings(database_url=url, broker_url="")
        self.ledger: Ledger = open_ledger(self.settings)
        self.sqlite = self.settings.database_url.startswith("sqlite")
        self.path = self.ledger.engine.url.database or ""
        self.url = url

    def publish(self, *ids: UUID, event_type: str = "Said") -> UUID:
        ids = ids or (uuid4(),)
        with self.ledger.events.begin() as connection:
            self.ledger.events.append(connection, [envelope(one, event_type) for one in ids])
        return ids[0]

    def subscribe(
        self, handler: str = "hear", max_attempts: int = 2, queue: str = "q", event_type: str = "Said"
    ) -> None:
        self.ledger.outbox.subscribe([Subscription(event_type, handler, queue, max_attempts)])

    def take(self, limit: int = 1000, stale_after: timedelta = HOUR) -> list[Wakeup]:
        self.ledger.outbox.fan_out(1000)
        return self.ledger.outbox.take_due("q", limit, stale_after, None)

    def claim(self, wakeup: Wakeup, lease: timedelta = HOUR) -> Claim:
        claim = self.ledger.inbox.claim(wakeup.event_id, wakeup.handler, wakeup.attempt, "w1", lease)
        assert claim is not None
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

    def row(self, event_id: UUID) -> Any:
        with self.ledger.engine.connect() as connection:
            return connection.execute(select(event_deliveries).where(event_deliveries.c.event_id == event_id)).one()

    def count(self, table: Any = event_store) -> int:
        with self.ledger.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(table)) or 0

    def foreign(self, statement: str, *values: Any) -> None:
        """Run SQL as a program does that knows nothing of this package; parameters are written `?`."""
        if self.sqlite:
            with closing(sqlite3.connect(self.path)) as connection:
                connection.execute(statement, values)
                connection.commit()
        else:
            with psycopg.connect(self.url) as connection:
                connection.execute(statement.replace("?", "%s"), values)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of this test's own, empty."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'events.db'}"
        return
    database = PostgresDatabase()
    try:
        yield database.url
    finally:
        database.drop()


@pytest.fixture
def empty(url: str) -> Iterator[Store]:
    """A ledger without tables."""
    store = Store(url)
    try:
        yield store
    finally:
        store.ledger.close()


@pytest.fixture
def store(empty: Store) -> Store:
    migrate(empty.ledger.engine)
    return empty


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


# Writing events.


def test_an_event_comes_out_as_it_went_in(store: Store) -> None:
    # Given an event
    written = envelope(uuid4())
    store.subscribe()
    # When it is appended and claimed
    with store.ledger.events.begin() as connection:
        store.ledger.events.append(connection, [written])
    read = store.claim(store.take()[0]).envelope
    # Then it is the same, up to the white space of its JSON
    assert (read.id, read.aggregate_id, read.event_type, read.version) == (written.id, "a-1", "Said", 1)
    assert read.timestamp == written.timestamp
    assert (json.loads(read.event_data), json.loads(read.metadata)) == ({"n": 1}, {})


def test_appending_an_id_again_changes_nothing(store: Store) -> None:
    # Given a stored event
    event_id = store.publish()
    # When its id is appended again, alone and twice in one batch
    store.publish(event_id, event_type="Other")
    store.publish(event_id, event_id, event_type="Other")
    # Then the first one stands
    with store.ledger.engine.connect() as connection:
        assert connection.scalars(select(event_store.c.event_type)).all() == ["Said"]


def test_a_rollback_leaves_nothing(store: Store) -> None:
    # Given an append in a transaction; When it rolls back
    with store.ledger.engine.connect() as connection:
        store.ledger.events.append(connection, [envelope(uuid4())])
        connection.rollback()
    # Then there is no event
    assert store.count() == 0


def test_a_foreign_program_publishes_with_the_eight_documented_columns(store: Store) -> None:
    # Given a program that knows the eight columns
    store.subscribe()
    event_id = uuid4()
    # When it inserts them
    store.foreign(
        "INSERT INTO event_store (id, aggregate_id, event_type, event_data, version, timestamp, processed, created_at)"
        " VALUES (?, 'x', 'Said', ?, 1, ?, false, ?)",
        str(event_id), '{"n": 2}', "2026-01-31T09:30:00Z", "2026-01-31T09:30:00Z",
    )  # fmt: skip
    # Then it is delivered
    read = store.claim(store.take()[0]).envelope
    assert (read.id, json.loads(read.event_data)) == (event_id, {"n": 2})
    assert read.timestamp == datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    assert (read.schema_version, read.metadata) == (1, "{}")


def test_every_column_with_a_default_can_be_left_out(store: Store) -> None:
    # Given a program that writes as little as it can
    store.subscribe()
    store.foreign("INSERT INTO event_store (id, event_type, event_data) VALUES (?, 'Said', '{}')", str(uuid4()))
    # Then the rest is filled in
    read = store.claim(store.take()[0]).envelope
    assert (read.aggregate_id, read.version, read.schema_version) == ("", 1, 1)
    assert read.timestamp is not None
    assert abs(datetime.now(UTC) - read.timestamp) < HOUR


@pytest.mark.parametrize("spelling", ["hex", "upper", "upper hex"])
def test_an_id_in_another_spelling_is_the_same_id(store: Store, spelling: str) -> None:
    # Given a program that writes UUIDs its own way
    store.subscribe()
    event_id = uuid4()
    written = event_id.hex if "hex" in spelling else str(event_id)
    written = written.upper() if "upper" in spelling else written
    store.foreign("INSERT INTO event_store (id, event_type, event_data) VALUES (?, 'Said', '{}')", written)
    # Then the event is delivered under its id, once, and publishing it again changes nothing
    assert [wakeup.event_id for wakeup in store.take()] == [event_id]
    store.publish(event_id)
    assert (store.count(), store.take()) == (1, [])


def test_a_foreign_repeat_in_another_spelling_is_ignored_when_it_asks_for_that(store: Store) -> None:
    # Given a stored event, already fanned out
    store.subscribe()
    event_id = store.publish()
    assert len(store.take()) == 1
    # When a program writes it again, in another spelling, unless it exists
    store.foreign(
        "INSERT INTO event_store (id, event_type, event_data) VALUES (?, 'Said', '{}') ON CONFLICT DO NOTHING"
        if not store.sqlite else
        "INSERT OR IGNORE INTO event_store (id, event_type, event_data) VALUES (?, 'Said', '{}')",
        event_id.hex.upper(),
    )  # fmt: skip
    # Then it is one event still, and not delivered again
    assert (store.count(), store.take()) == (1, [])


def test_an_id_that_is_no_uuid_is_refused_at_once(store: Store) -> None:
    with pytest.raises((sqlite3.Error, psycopg.Error)):
        store.foreign("INSERT INTO event_store (id, event_type, event_data) VALUES ('7', 'Said', '{}')")
    assert store.count() == 0


def test_garbage_of_a_foreign_program_reaches_the_claim_and_stops_nobody_else(tmp_path: Path) -> None:
    # Given an SQLite row whose data is no JSON and whose time is no time, and a good one
    store = Store(f"sqlite:///{tmp_path / 'events.db'}")
    try:
        migrate(store.ledger.engine)
        store.subscribe()
        bad = uuid4()
        store.foreign(
            "INSERT INTO event_store (id, event_type, event_data, timestamp) VALUES (?, 'Said', 'not JSON', 'soon')",
            str(bad),
        )
        good = store.publish()
        # When both are claimed
        read = {wakeup.event_id: store.claim(wakeup).envelope for wakeup in store.take()}
        # Then the bad one is handed over as it is
        assert (read[bad].event_data, read[bad].timestamp) == ("not JSON", None)
        assert json.loads(read[good].event_data) == {"n": 1}
    finally:
        store.ledger.close()


def test_a_transaction_on_a_database_without_a_ledger_says_so(empty: Store) -> None:
    # Given no tables; Then append names the database and the cure
    with empty.ledger.engine.connect() as connection, pytest.raises(SchemaError, match="events migrate"):
        empty.ledger.events.append(connection, [envelope(uuid4())])


# Fan-out.


def test_two_relays_at_once_fan_out_every_event_once(store: Store) -> None:
    # Given 100 events
    store.subscribe()
    store.publish(*(uuid4() for _ in range(100)))

    # When two relays fan out at once, until nothing is left
    def all_of_it() -> int:
        return sum(iter(lambda: store.ledger.outbox.fan_out(10), 0))

    moved = together(all_of_it, all_of_it)
    # Then each event was moved by one of them
    assert sum(moved) == 100
    assert store.count(event_deliveries) == 100


def test_an_event_that_nobody_subscribed_to_waits(store: Store) -> None:
    # Given an event without a handler
    store.subscribe()
    event_id = store.publish(event_type="Later")
    assert (store.ledger.outbox.fan_out(10), store.take()) == (0, [])
    # When one subscribes
    store.subscribe(handler="late", event_type="Later")
    # Then it is delivered
    assert [(wakeup.event_id, wakeup.handler) for wakeup in store.take()] == [(event_id, "late")]


def test_subscribing_drops_what_the_same_handler_no_longer_wants(store: Store) -> None:
    # Given a handler of one event type
    store.subscribe(handler="hear", event_type="Said", queue="old")
    store.subscribe(handler="other", event_type="Said")
    # When it subscribes to another
    store.subscribe(handler="hear", event_type="Sung", queue="new")
    # Then its old row is gone, and other handlers' rows are not
    assert sorted(store.ledger.outbox.queues()) == ["new", "q"]
    store.publish()
    assert [wakeup.handler for wakeup in store.take()] == ["other"]


# Sending.


def test_take_due_keeps_to_limit_queue_and_handlers(store: Store) -> None:
    # Given three events for two handlers
    store.subscribe("a")
    store.subscribe("b")
    store.publish(*(uuid4() for _ in range(3)))
    outbox = store.ledger.outbox
    outbox.fan_out(10)
    # Then only what was asked for is taken, and only once
    assert outbox.take_due("elsewhere", 10, HOUR, None) == []
    assert outbox.take_due("q", 10, HOUR, ["c"]) == []
    first = outbox.take_due("q", 2, HOUR, ["a"])
    assert [(wakeup.handler, wakeup.queue, wakeup.attempt) for wakeup in first] == [("a", "q", 1)] * 2
    assert len(outbox.take_due("q", 10, HOUR, ["a"])) == 1
    assert outbox.in_flight() == {"q": 3}
    assert [wakeup.handler for wakeup in outbox.take_due("q", 10, HOUR, None)] == ["b"] * 3


def test_two_relays_never_take_the_same_delivery(store: Store) -> None:
    # Given 200 due deliveries
    store.subscribe()
    store.publish(*(uuid4() for _ in range(200)))
    store.ledger.outbox.fan_out(1000)

    # When two relays take them at once
    def all_of_it() -> list[Wakeup]:
        batches = iter(lambda: store.ledger.outbox.take_due("q", 10, HOUR, None), [])
        return [wakeup for batch in batches for wakeup in batch]

    first, second = together(all_of_it, all_of_it)
    # Then no delivery was taken twice, and none was left
    assert len({wakeup.event_id for wakeup in first + second}) == len(first) + len(second) == 200


def test_a_delivery_handed_back_is_due_again_and_used_no_attempt(store: Store) -> None:
    # Given a sent delivery
    store.subscribe()
    store.publish()
    taken = store.take()
    # When it is handed back, for later and then for now
    assert store.ledger.outbox.hand_back(taken, HOUR) == 1
    assert store.take() == []
    # Then handing it back again changes nothing, and it returns with the same attempt
    assert store.ledger.outbox.hand_back(taken, NOW) == 0
    make_due(store)
    assert store.take() == taken


def test_a_started_delivery_is_not_handed_back(store: Store) -> None:
    claim = store.running()
    wakeup = Wakeup(claim.envelope.id, "hear", "q", 1)
    assert store.ledger.outbox.hand_back([wakeup], NOW) == 0
    assert store.row(claim.envelope.id).state == State.RUNNING


def test_resend_takes_the_oldest_missing_only(store: Store) -> None:
    # Given three overdue deliveries that were sent one after the other, and one that is not overdue
    store.subscribe()
    sent = []
    for _ in range(3):
        store.publish()
        sent += store.take(stale_after=PAST)
    store.publish()
    (fresh,) = store.take()
    outbox = store.ledger.outbox
    assert outbox.overdue() == {"q": 4}
    # When two are missing
    assert outbox.resend("q", 2, HOUR) == 2
    # Then the two oldest are due, and the others wait for another stale window
    assert [store.row(wakeup.event_id).state for wakeup in [*sent, fresh]] == ["pending", "pending", "sent", "sent"]
    assert outbox.overdue() == {}
    assert {wakeup.event_id for wakeup in store.take()} == {sent[0].event_id, sent[1].event_id}


def test_resend_of_none_missing_gives_all_another_window(store: Store) -> None:
    store.subscribe()
    store.publish()
    store.take(stale_after=PAST)
    assert store.ledger.outbox.resend("q", 0, HOUR) == 0
    assert (store.ledger.outbox.overdue(), store.take()) == ({}, [])


def test_renewed_wakeups_are_not_overdue(store: Store) -> None:
    store.subscribe()
    store.publish()
    taken = store.take(stale_after=PAST)
    store.ledger.outbox.renew(taken, HOUR)
    assert store.ledger.outbox.overdue() == {}


def test_due_in_tells_when_to_look_again(store: Store) -> None:
    # Given nothing; Then nothing will be due
    outbox = store.ledger.outbox
    store.subscribe()
    assert outbox.due_in() is None
    # When an event waits, then a delivery; Then look now
    store.publish(event_type="Unheard")
    assert outbox.due_in() is None
    store.publish()
    assert outbox.due_in() == NOW
    outbox.fan_out(10)
    assert outbox.due_in() == NOW
    # When it is sent, runs, waits for its retry; Then look at its time
    (wakeup,) = store.take(stale_after=HOUR)
    assert timedelta(minutes=59) < (outbox.due_in() or NOW) <= HOUR
    claim = store.claim(wakeup, lease=2 * HOUR)
    assert timedelta(minutes=119) < (outbox.due_in() or NOW) <= 2 * HOUR
    store.ledger.inbox.retry(claim, OOPS, 3 * HOUR)
    assert timedelta(minutes=179) < (outbox.due_in() or NOW) <= 3 * HOUR


# Running.


def test_a_claim_needs_the_right_attempt_and_is_given_once(store: Store) -> None:
    # Given a sent delivery
    store.subscribe()
    event_id = store.publish()
    store.take()
    inbox = store.ledger.inbox
    # Then it can be claimed for its attempt, once
    assert inbox.claim(event_id, "hear", 2, "w1", HOUR) is None
    assert inbox.claim(event_id, "nobody", 1, "w1", HOUR) is None
    claims = together(*[lambda: inbox.claim(event_id, "hear", 1, "w1", HOUR)] * 2)
    assert sorted(claim is None for claim in claims) == [False, True]
    assert (store.row(event_id).attempts, store.row(event_id).worker) == (1, "w1")


def test_success_commits_with_the_handlers_effects(store: Store) -> None:
    claim = store.running()
    with store.ledger.inbox.begin() as connection:
        store.ledger.events.append(connection, [envelope(uuid4(), "Effect")])
        store.ledger.inbox.succeed(connection, claim)
    assert (store.row(claim.envelope.id).state, store.count()) == ("succeeded", 2)
    assert store.row(claim.envelope.id).finished_at is not None


def test_a_late_success_is_refused_and_its_effects_roll_back(store: Store) -> None:
    # Given a run whose lease ended, and another that took over
    late = store.running(lease=PAST)
    assert store.ledger.outbox.expire_leases(10) == 1
    second = store.claim(store.take()[0])
    # When the first one succeeds after all
    with pytest.raises(LeaseLost), store.ledger.inbox.begin() as connection:
        store.ledger.events.append(connection, [envelope(uuid4(), "Effect")])
        store.ledger.inbox.succeed(connection, late)
    # Then nothing of it stays, nothing else it says counts, and the second one goes on
    assert store.count() == 1
    assert not store.ledger.inbox.extend(late, HOUR)
    assert not store.ledger.inbox.retry(late, OOPS, NOW)
    assert not store.ledger.inbox.bury(late, OOPS)
    assert not store.ledger.inbox.abandon(late.envelope.id, "hear", late.attempt, OOPS, NOW)
    with store.ledger.inbox.begin() as connection:
        store.ledger.inbox.succeed(connection, second)


def test_a_retry_is_due_after_its_delay_with_the_next_attempt(store: Store) -> None:
    claim = store.running()
    assert store.ledger.inbox.retry(claim, OOPS, HOUR)
    assert store.take() == []
    make_due(store)
    (wakeup,) = store.take()
    assert wakeup.attempt == 2
    assert store.row(claim.envelope.id).error == "no"
    assert store.claim(wakeup).run == 2


def test_an_extended_lease_does_not_expire(store: Store) -> None:
    claim = store.running(lease=PAST)
    assert store.ledger.inbox.extend(claim, HOUR)
    assert store.ledger.outbox.expire_leases(10) == 0


def test_an_ended_lease_is_another_attempt_until_the_last(store: Store) -> None:
    # Given a handler with two attempts; When both end silently
    first = store.running(lease=PAST, max_attempts=2)
    assert store.ledger.outbox.expire_leases(10) == 1
    row = store.row(first.envelope.id)
    assert (row.state, row.error_type.rpartition(".")[2]) == ("pending", "WorkerLost")
    store.claim(store.take()[0], lease=PAST)
    assert store.ledger.outbox.expire_leases(10) == 1
    # Then it is a dead letter that names the worker and the attempt
    (letter,) = store.ledger.dead.find(DeadLetterFilter())
    assert (letter.attempts, letter.worker, letter.traceback) == (2, "w1", "")
    assert "w1" in letter.error
    assert "2" in letter.error


def test_two_relays_expire_a_lease_once(store: Store) -> None:
    store.running(lease=PAST)
    assert sum(together(*[lambda: store.ledger.outbox.expire_leases(10)] * 2)) == 1


def test_abandon_retries_or_buries_as_the_subscription_says(store: Store) -> None:
    # Given a handler with two attempts
    claim = store.running(max_attempts=2)
    event_id, inbox = claim.envelope.id, store.ledger.inbox
    # When only the message of each attempt is at hand
    assert not inbox.abandon(event_id, "hear", 2, OOPS, NOW)
    assert inbox.abandon(event_id, "hear", 1, OOPS, NOW)
    assert store.row(event_id).state == "pending"
    store.claim(store.take()[0])
    assert inbox.abandon(event_id, "hear", 2, OOPS, NOW)
    # Then the first is a retry, the second a dead letter
    assert store.row(event_id).state == "dead"


def test_a_delivery_whose_event_was_deleted_is_a_dead_letter(store: Store) -> None:
    # Given a sent delivery; When somebody deletes its event
    store.subscribe()
    event_id = store.publish()
    (wakeup,) = store.take()
    store.foreign("DELETE FROM event_store")
    # Then there is nothing to run, and it can be seen
    assert store.ledger.inbox.claim(event_id, "hear", wakeup.attempt, "w1", HOUR) is None
    (letter,) = store.ledger.dead.find(DeadLetterFilter())
    assert (letter.event_id, letter.event_type) == (event_id, "")
    assert str(event_id) in letter.error


def test_contention_is_told_from_other_errors(store: Store) -> None:
    # Given two transactions that read first, then write the same row (SQLite), or don't wait for it (PostgreSQL)
    store.publish()
    change = update(event_store).values(aggregate_id="b")
    with store.ledger.engine.connect() as one, store.ledger.engine.connect() as two:
        for connection in (one, two):
            connection.execute(select(event_store.c.event_type)).all()
        one.execute(change)
        if store.sqlite:
            one.commit()
            with pytest.raises(DBAPIError) as lost:
                two.execute(change)
        else:
            with pytest.raises(DBAPIError) as lost:
                two.execute(select(event_store.c.id).with_for_update(nowait=True))
        two.rollback()
        with pytest.raises(DBAPIError) as other:
            two.execute(text("SELECT nonsense"))
    # Then that is contention, and other errors are not
    assert store.ledger.inbox.is_contention(lost.value)
    assert not store.ledger.inbox.is_contention(other.value)
    assert not store.ledger.inbox.is_contention(ValueError("database is locked"))


# Dead letters.


def test_replaying_twice_acts_once_and_gives_all_attempts_back(store: Store) -> None:
    # Given a dead letter
    (event_id,) = store.dead()
    # When it is replayed by two clicks
    assert store.ledger.dead.replay(DeadLetterFilter(event_ids=[event_id])) == 1
    assert store.ledger.dead.replay(DeadLetterFilter(event_ids=[event_id])) == 0
    # Then attempts go on counting, but a new run of attempts begins; the old error stays until there is another outcome
    assert store.row(event_id).error == "no"
    claim = store.claim(store.take()[0], lease=PAST)
    assert (claim.attempt, claim.run) == (2, 1)
    store.ledger.outbox.expire_leases(10)
    assert store.row(event_id).state == "pending"
    store.claim(store.take()[0], lease=PAST)
    store.ledger.outbox.expire_leases(10)
    assert (store.row(event_id).state, store.row(event_id).replays) == ("dead", 1)


def test_discarding_is_for_good_and_once(store: Store) -> None:
    (event_id,) = store.dead()
    assert store.ledger.dead.discard(DeadLetterFilter()) == 1
    assert store.ledger.dead.discard(DeadLetterFilter()) == 0
    assert store.ledger.dead.replay(DeadLetterFilter()) == 0
    assert store.row(event_id).state == "discarded"


def test_dead_letters_are_found_newest_first_by_any_filter(store: Store) -> None:
    # Given three dead letters
    one, two, three = store.dead(3)
    box = store.ledger.dead
    # Then each field of the filter counts
    assert [letter.event_id for letter in box.find(DeadLetterFilter())] == [three, two, one]
    assert [letter.event_id for letter in box.find(DeadLetterFilter(limit=2))] == [three, two]
    assert [letter.event_id for letter in box.find(DeadLetterFilter(event_ids=(one,)))] == [one]
    assert box.count(DeadLetterFilter(handler="hear", event_type="Said")) == 3
    assert box.count(DeadLetterFilter(handler="nobody")) == box.count(DeadLetterFilter(event_type="Sung")) == 0
    (letter, *_) = box.find(DeadLetterFilter(limit=1))
    assert (letter.error_type, letter.error, letter.traceback) == ("ValueError", "no", "Traceback ...")
    assert (json.loads(letter.event_data), letter.queue, letter.attempts) == ({"n": 1}, "q", 1)
    assert letter.published_at is not None
    assert letter.published_at <= (letter.died_at or letter.published_at)


def test_a_limit_counts_and_replays_the_newest(store: Store) -> None:
    one, two, three = store.dead(3)
    box = store.ledger.dead
    assert box.count(DeadLetterFilter(limit=2)) == 2
    assert box.replay(DeadLetterFilter(limit=2)) == 2
    assert [store.row(event_id).state for event_id in (one, two, three)] == ["dead", "pending", "pending"]


def test_a_dead_letter_is_copied_once_for_every_death(store: Store) -> None:
    # Given a dead letter
    (event_id,) = store.dead()
    outbox = store.ledger.outbox
    letters = outbox.take_uncopied(10)
    assert [letter.event_id for letter in letters] == [event_id]
    # When it is marked; Then it is not copied again, until it was replayed and died again
    outbox.mark_copied(letters)
    assert outbox.take_uncopied(10) == []
    store.ledger.dead.replay(DeadLetterFilter())
    store.ledger.inbox.bury(store.claim(store.take()[0]), OOPS)
    assert len(outbox.take_uncopied(10)) == 1
    # A copy of the death before does not count for this one
    outbox.mark_copied(letters)
    assert len(outbox.take_uncopied(10)) == 1


def test_what_waits_for_a_handler_moves_along_when_it_is_given_another_queue(store: Store) -> None:
    # Given a delivery that is sent to one queue and one that waits for it
    store.subscribe(queue="q")
    sent = store.publish()
    assert len(store.take()) == 1
    waiting = store.publish()
    store.ledger.outbox.fan_out(10)
    # When its handler subscribes with another queue
    store.subscribe(queue="elsewhere")
    # Then both are due there
    moved = store.ledger.outbox.take_due("elsewhere", 10, HOUR, None)
    assert {wakeup.event_id for wakeup in moved} == {sent, waiting}
    assert store.ledger.outbox.take_due("q", 10, HOUR, None) == []


# Schema.


def test_migrating_twice_does_nothing_the_second_time(empty: Store) -> None:
    assert migrate(empty.ledger.engine) != []
    assert migrate(empty.ledger.engine) == []
    check_schema(empty.ledger.engine)


def test_two_processes_may_migrate_at_once(empty: Store) -> None:
    # Given two processes; When both migrate
    code = (
        "import sys; from events.store import *; from events.settings import Settings;"
        "l = open_ledger(Settings(database_url=sys.argv[1], broker_url='')); print(migrate(l.engine)); l.close()"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, empty.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60) for process in processes]
    # Then one of them does it, and neither complains
    assert sorted(out.strip() for out, _ in said) == ["['0001']", "[]"], said
    assert [err for _, err in said] == ["", ""]


def test_the_migrated_tables_are_those_that_the_code_speaks_of(store: Store) -> None:
    options = {"compare_type": True, "include_object": lambda _, name, kind, *__: name != "events_schema"}
    with store.ledger.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    assert differences == []


def test_missing_tables_name_the_command_to_run(empty: Store) -> None:
    with pytest.raises(SchemaError, match="run `events migrate`"):
        check_schema(empty.ledger.engine)


def test_a_newer_database_says_so(store: Store) -> None:
    store.foreign("UPDATE events_schema SET version_num = '9999'")
    for action in (check_schema, migrate):
        with pytest.raises(SchemaError, match="newer"):
            action(store.ledger.engine)


def test_an_unreachable_database_is_named_without_its_password() -> None:
    engine = open_ledger(Settings(database_url="postgresql://me:s3cret@127.0.0.1:1/x", broker_url="")).engine
    with pytest.raises(ConfigurationError) as error:
        check_schema(engine)
    engine.dispose()
    assert "EVENTS_DATABASE_URL" in str(error.value)
    assert "s3cret" not in str(error.value)
    assert "\n" not in str(error.value)


# Waiting.


@pytest.fixture
def wait(store: Store) -> Iterator[Callable[[], float]]:
    """Waits once, up to 30 s; how long it took. Settled first: what happened before doesn't count."""
    listener = store.ledger.outbox.listen()

    def settled() -> bool:
        started = time.monotonic()
        listener.wait(timedelta(seconds=0.1))
        return time.monotonic() - started >= 0.09

    eventually(settled, "the listener is quiet")

    def wait() -> float:
        started = time.monotonic()
        listener.wait(timedelta(seconds=30))
        return time.monotonic() - started

    wait.listener = listener  # type: ignore[attr-defined]
    try:
        yield wait
    finally:
        listener.close()


def test_a_listener_wakes_when_an_event_is_committed(store: Store, wait: Callable[[], float]) -> None:
    took, _ = together(wait, store.publish)
    assert took < 5


def test_a_listener_wakes_when_a_thread_says_so(wait: Any) -> None:
    took, _ = together(wait, wait.listener.wake)
    assert took < 5
    # A wake before the wait ends it too
    wait.listener.wake()
    assert wait() < 5


def test_waking_is_throttled_survives_savepoints_and_forgets_rollbacks(store: Store) -> None:
    # Given a connection whose statements are counted
    if store.sqlite:
        pytest.skip("SQLite's relays look at the file; nobody notifies")
    notified: list[str] = []

    @event.listens_for(store.ledger.engine, "before_cursor_execute")
    def count(_: Connection, __: object, statement: str, *___: object) -> None:
        notified.extend([statement] * ("NOTIFY" in statement))

    events = store.ledger.events
    # When a transaction rolls back, and the next on its connection publishes nothing
    with store.ledger.engine.connect() as connection:
        events.append(connection, [envelope(uuid4())])
        connection.rollback()
        connection.execute(text("SELECT 1"))
        connection.commit()
        # Then nobody is notified
        assert notified == []
        # When one publishes much, in a savepoint too; Then once, at its end
        events.append(connection, [envelope(uuid4())])
        with connection.begin_nested():
            events.append(connection, [envelope(uuid4())])
        assert notified == []
        connection.commit()
        assert len(notified) == 1
    # When many commits follow one another; Then not once for each
    started = time.monotonic()
    for _ in range(20):
        with Session(store.ledger.engine) as session, session.begin():
            events.append(session.connection(), [envelope(uuid4())])
    assert len(notified) <= 2 + (time.monotonic() - started) / 0.05


def test_a_quiet_session_notifies_when_it_commits(store: Store) -> None:
    if store.sqlite:
        pytest.skip("SQLite's relays look at the file; nobody notifies")
    with psycopg.connect(store.url, autocommit=True) as listening:
        listening.execute("LISTEN events_due")
        with Session(store.ledger.engine) as session, session.begin():
            store.ledger.events.append(session.connection(), [envelope(uuid4())])
        assert [notify.channel for notify in listening.notifies(timeout=10, stop_after=1)] == ["events_due"]


# Several processes.


def test_processes_that_write_one_file_at_once_lose_nothing(store: Store) -> None:
    # Given four processes that publish 50 events each, in transactions of their own
    code = (
        "import sys; from datetime import datetime, UTC; from uuid import uuid4\n"
        "from events.envelope import Envelope; from events.settings import Settings\n"
        "from events.store import open_ledger\n"
        "l = open_ledger(Settings(database_url=sys.argv[1], broker_url=''))\n"
        "for _ in range(50):\n"
        "    with l.events.begin() as c:\n"
        "        l.events.append(c, [Envelope(uuid4(), '', 'Said', '{}', 1, datetime.now(UTC), 1, '{}')])\n"
        "l.close()\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, store.url], stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    # When they all run, while this one relays
    store.subscribe()
    taken: list[Wakeup] = []

    def all_taken() -> bool:
        taken.extend(store.take())
        return len(taken) >= 200

    eventually(all_taken, "200 deliveries were taken")
    # Then every event is delivered once
    assert [process.communicate(timeout=60)[1] for process in processes] == [""] * 4
    assert len({wakeup.event_id for wakeup in taken}) == len(taken) == store.count() == 200


def make_due(store: Store) -> None:
    """Let the time of every delivery come."""
    with store.ledger.events.begin() as connection:
        connection.execute(update(event_deliveries).values(due_at=event_deliveries.c.created_at))
