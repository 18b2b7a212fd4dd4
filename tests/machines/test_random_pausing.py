"""Pause and resume beside everything else that moves deliveries, in random programs with real concurrency.

The model: after pause has returned no claim succeeds until resume; after resume all is handled, once.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.exc import DBAPIError

from events.errors import StillStarting
from events.ledger.dead_letters import DeadLetterFilter
from events.ledger.records import Express, State
from events.store import migrate
from events.store.tables import event_handlers
from support.exploring import explore, long_enough
from support.servers import PostgresDatabase
from support.store import HOUR, NOW, OOPS, Store
from support.waiting import eventually

SECONDS = 6.0  # that one program runs
EXPRESS = Express(1000, 1000, 100_000, HOUR)


@pytest.fixture
def store() -> Iterator[Store]:
    database = PostgresDatabase()
    store = Store(database.url)
    migrate(store.ledger.engine)
    store.subscribe(max_attempts=1_000_000)
    yield store
    store.ledger.close()
    database.drop()


class Program:
    """Threads that each do one thing again and again, at random moments, while an operator pauses and resumes."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store, self.seed = store, seed
        self.published: set[Any] = set()
        self.succeeded: Counter[Any] = Counter()
        self.paused_since: float | None = None  # when pause returned; None from just before resume on
        self.wrong: list[str] = []
        self.errors: list[BaseException] = []
        self.ending = threading.Event()

    def run(self, seconds: float) -> None:
        acts = [self.publish, *[self.relay] * 2, *[self.deliver] * 2, self.hold_rows, self.mend, self.replay]
        threads = [threading.Thread(target=self.again, args=(act, index)) for index, act in enumerate(acts)]
        for thread in threads:
            thread.start()
        rng, until = random.Random(self.seed), time.monotonic() + seconds
        while time.monotonic() < until and not self.wrong:
            self.switch(rng)
        self.ending.set()
        for thread in threads:
            thread.join()
        assert not self.errors, self.errors

    def again(self, act: Callable[[random.Random], None], index: int) -> None:
        rng = random.Random(self.seed * 100 + index)
        try:
            while not self.ending.is_set():
                with suppress(DBAPIError):  # a deadlock of two of these: whoever it is tries again
                    act(rng)
                self.ending.wait(rng.random() * 0.02)
        except BaseException as error:
            self.errors.append(error)
            self.ending.set()

    def switch(self, rng: random.Random) -> None:
        switches = self.store.ledger.switches
        self.ending.wait(rng.random() * 0.2)
        switches.pause("hear", "ann")
        self.paused_since = time.monotonic()
        while switches.hold("hear", 50):
            pass
        self.ending.wait(rng.random() * 0.2)
        self.paused_since = None
        switches.resume("hear", "ann")

    def publish(self, rng: random.Random) -> None:
        ids = {uuid4() for _ in range(rng.randint(1, 6))}
        self.store.publish(*ids)
        self.published |= ids

    def relay(self, rng: random.Random) -> None:
        outbox = self.store.ledger.outbox
        outbox.fan_out(10, EXPRESS if rng.random() < 0.5 else None)
        wakeups = self.store.take_due("q", 10)
        if rng.random() < 0.2:
            outbox.hand_back(wakeups, NOW)

    def deliver(self, rng: random.Random) -> None:
        with self.store.ledger.engine.connect() as connection:
            sent = "SELECT event_id, attempts + 1 FROM event_deliveries WHERE state = 'sent' ORDER BY random() LIMIT "
            rows = connection.exec_driver_sql(sent + str(rng.randint(1, 5))).all()
        if not rows:
            return
        inbox, began = self.store.ledger.inbox, time.monotonic()
        lease = NOW if rng.random() < 0.1 else HOUR
        claims = inbox.claim("hear", {row[0]: row[1] for row in rows}, "w", lease)
        since = self.paused_since
        if claims and since is not None and since < began:
            self.wrong.append(f"{len(claims)} were claimed after pause had returned")
        for claim in claims:
            chance = rng.random()
            if chance < 0.2:
                inbox.retry(claim, OOPS, NOW)
            elif chance < 0.3:
                inbox.bury(claim, OOPS)
            elif chance < 0.4:
                inbox.hand_back([claim], NOW)
            else:
                with suppress(Exception), inbox.begin() as connection:
                    inbox.succeed(connection, [claim])
                    self.ending.wait(rng.random() * 0.02)
                    self.succeeded[claim.envelope.id] += 1

    def hold_rows(self, rng: random.Random) -> None:
        """A transaction that holds some rows for a while, as relays and workers do for a moment."""
        with self.store.ledger.engine.begin() as connection:
            connection.exec_driver_sql(
                "SELECT 1 FROM event_deliveries WHERE state IN ('pending', 'sent', 'paused') "
                "ORDER BY random() LIMIT 5 FOR UPDATE SKIP LOCKED"
            )
            self.ending.wait(rng.random() * 0.1)

    def mend(self, _: random.Random) -> None:
        recovery = self.store.ledger.recovery
        recovery.unpause(5)
        recovery.expire_leases(10)
        recovery.resend("q", 2)

    def replay(self, _: random.Random) -> None:
        self.store.ledger.dead.replay(DeadLetterFilter(limit=5), "ann")

    def finish(self) -> None:
        """The handler is resumed: everything is handled."""
        ledger, until = self.store.ledger, time.monotonic() + 240
        while self.states() - {State.SUCCEEDED} or ledger.outbox.fan_out(1000).events:
            assert time.monotonic() < until, f"never handled: {self.states()}"
            while ledger.recovery.unpause(100):
                pass
            ledger.recovery.expire_leases(1000)
            ledger.dead.replay(DeadLetterFilter(), "ann")
            self.store.foreign("UPDATE event_deliveries SET state = 'pending', due_at = now() WHERE state = 'sent'")
            due = {wakeup.event_id: wakeup.token for wakeup in self.store.take_due("q", 1000)}
            claims = ledger.inbox.claim("hear", due, "w", HOUR)
            with ledger.inbox.begin() as connection:
                ledger.inbox.succeed(connection, claims)
            self.succeeded.update(claim.envelope.id for claim in claims)

    def states(self) -> set[str]:
        with self.store.ledger.engine.connect() as connection:
            return set(connection.exec_driver_sql("SELECT DISTINCT state FROM event_deliveries").scalars())


@long_enough
def test_after_pause_nothing_starts_and_after_resume_everything_is_handled(store: Store) -> None:
    def round_of(seed: int) -> None:
        # Given workers, relays and upkeep at work on one handler; When it is paused and resumed again and again
        program = Program(store, seed)
        program.run(SECONDS)
        # Then no claim succeeded after a pause, and all is handled after the last resume, once
        assert not program.wrong, program.wrong
        program.finish()
        assert program.published <= program.succeeded.keys()
        assert set(program.succeeded.values()) <= {1}

    explore(round_of)


def test_pause_waits_for_a_claim_that_began_before_it(store: Store) -> None:
    # Given a claim that waits for a row, and knows of no pause
    store.publish()
    (wakeup,) = store.take()
    with ThreadPoolExecutor() as threads:
        with store.ledger.engine.begin() as holder:
            holder.exec_driver_sql("SELECT 1 FROM event_deliveries FOR UPDATE")
            claiming = threads.submit(store.claim, wakeup)
            eventually(lambda: locks(store, "NOT granted"), "the claim waits")
            # When the handler is paused, then pause doesn't return
            pausing = threads.submit(store.ledger.switches.pause, "hear", "ann")
            eventually(lambda: store.count(event_handlers), "the switch is set")
            with pytest.raises(TimeoutError):
                pausing.result(timeout=0.5)
        # Until the claim has ended
        assert claiming.result(60).attempt == 1
        assert pausing.result(60)
    assert store.ledger.switches.running("hear") == 1


def test_what_a_relay_holds_at_that_moment_is_not_started_either(store: Store) -> None:
    # Given deliveries that a relay is about to send when their handler is paused
    store.publish(*(uuid4() for _ in range(3)))
    store.ledger.outbox.fan_out(10)
    with ThreadPoolExecutor() as threads:
        with store.ledger.engine.begin() as relay:
            relay.exec_driver_sql("UPDATE event_deliveries SET state = 'sent', sent_at = now()")
            store.ledger.switches.pause("hear", "ann")
            holding = threads.submit(store.ledger.switches.hold, "hear", 10)
            eventually(lambda: locks(store, "NOT granted"), "the operator waits for the relay")
        assert holding.result(60) == 3
    # Then they are held back as soon as they are sent, and run at once when it is resumed
    assert store.take() == []
    store.ledger.switches.resume("hear", "ann")
    assert store.ledger.recovery.unpause(10) == 3
    assert len(store.take()) == 3


def test_what_stands_paused_without_a_switch_is_found(store: Store) -> None:
    # Given deliveries that older code left paused after the resume was forgotten, one of them held by somebody
    store.publish(*(uuid4() for _ in range(2)))
    store.take()
    store.foreign("UPDATE event_deliveries SET state = 'paused'")
    with store.ledger.engine.begin() as holder:
        holder.exec_driver_sql("SELECT 1 FROM event_deliveries LIMIT 1 FOR UPDATE")
        assert store.ledger.recovery.unpause(10) == 1
    assert store.ledger.recovery.unpause(10) == 1


def locks(store: Store, which: str) -> int:
    with store.ledger.engine.connect() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM pg_locks WHERE {which}").scalar_one())


def test_a_transaction_that_may_not_know_of_the_pause_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a transaction that asked whether the handler is paused, and doesn't end
    monkeypatch.setattr("events.store.operating.pausing._WAIT", 0.2)
    with store.ledger.engine.begin() as connection:
        connection.exec_driver_sql("SELECT 1 FROM event_handlers FOR KEY SHARE")
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        # When the handler is paused, then the process is named, and the handler is paused all the same
        with pytest.raises(StillStarting, match=str(pid)):
            store.ledger.switches.pause("hear", "ann")
    assert store.ledger.switches.pause("hear", "ann") is False


def test_what_somebody_holds_for_a_moment_is_given_up_with_its_handler_too(store: Store) -> None:
    # Given a delivery of a handler that nobody has any more, held by somebody
    event_id = store.publish()
    store.take()
    switches = store.ledger.switches
    switches.unsubscribe("hear", "ann")
    with ThreadPoolExecutor() as threads:
        with store.ledger.engine.begin() as holder:
            holder.exec_driver_sql("SELECT 1 FROM event_deliveries FOR UPDATE")
            # When what waits for the handler is given up
            dropping = threads.submit(switches.drop, "hear", "ann", 10)
            eventually(lambda: locks(store, "NOT granted"), "the operator waits for the row")
        # Then it is, as soon as the other lets go
        assert dropping.result(60) == 1
    assert store.row(event_id, "hear").state == State.DISCARDED


def test_who_does_not_let_go_of_a_delivery_is_told_of(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events.store.operating.retiring._HELD", "10ms")
    event_id = store.publish()
    store.take()
    switches = store.ledger.switches
    switches.unsubscribe("hear", "ann")
    with store.ledger.engine.begin() as holder:
        holder.exec_driver_sql("SELECT 1 FROM event_deliveries FOR UPDATE")
        with pytest.raises(StillStarting, match="hear is retired, but another transaction holds"):
            switches.drop("hear", "ann", 10)
    assert store.row(event_id, "hear").state == State.SENT
    # And it can be done again
    assert switches.drop("hear", "ann", 10) == 1
