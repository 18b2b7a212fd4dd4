"""How a relay waits, and what wakes it."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from support.store import Store, envelope, together
from support.waiting import eventually


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


@pytest.fixture
def heard(store: Store) -> Iterator[Callable[[], int]]:
    """How many wake-ups were sent since it was last asked."""
    with psycopg.connect(store.url, autocommit=True) as listening, psycopg.connect(store.url, autocommit=True) as other:
        listening.execute("LISTEN events_due")
        listening.execute("LISTEN all_that_is_before")

        def count() -> int:
            other.execute("NOTIFY all_that_is_before")  # notifications arrive in the order of their commits
            for found, notify in enumerate(listening.notifies(timeout=10)):
                if notify.channel == "all_that_is_before":
                    return found
            raise AssertionError("nothing was heard")

        yield count


@pytest.mark.parametrize("url", ["postgres"], indirect=True)  # SQLite's relays look at the file; nobody notifies
class TestNotify:
    """NOTIFY, as whoever listens hears it."""

    def test_it_survives_savepoints_and_forgets_rollbacks(self, store: Store, heard: Callable[[], int]) -> None:
        events = store.ledger.events
        # When a transaction rolls back, and the next on its connection publishes nothing
        with store.ledger.engine.connect() as connection:
            events.append(connection, [envelope(uuid4())])
            connection.rollback()
            connection.execute(text("SELECT 1"))
            connection.commit()
            # Then nobody is notified
            assert heard() == 0
            # When one publishes much, in a savepoint too; Then once, at its end
            events.append(connection, [envelope(uuid4())])
            with connection.begin_nested():
                events.append(connection, [envelope(uuid4())])
            assert heard() == 0
            connection.commit()
            assert heard() == 1

    @pytest.mark.parametrize("reads", [True, False])
    def test_of_many_commits_one_after_the_other_not_each_notifies(
        self, store: Store, heard: Callable[[], int], reads: bool
    ) -> None:
        # Given sessions that publish, and look at something after it or not
        started = time.monotonic()
        for _ in range(200):
            with Session(store.ledger.engine) as session, session.begin():
                store.ledger.events.append(session.connection(), [envelope(uuid4())])
                if reads:
                    session.execute(text("SELECT 1"))
        # Then there was a wake-up, and not one for each of them
        assert 1 <= heard() <= 6 + (time.monotonic() - started) / 0.05

    def test_a_quiet_session_notifies_when_it_commits(self, store: Store, heard: Callable[[], int]) -> None:
        with Session(store.ledger.engine) as session, session.begin():
            store.ledger.events.append(session.connection(), [envelope(uuid4())])
        assert heard() == 1
