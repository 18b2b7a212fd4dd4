"""How a relay waits, and what wakes it."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.orm import Session

from events.store.event_log import WAKE_EVERY
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
    assert len(notified) <= 2 + (time.monotonic() - started) / WAKE_EVERY


def test_a_quiet_session_notifies_when_it_commits(store: Store) -> None:
    if store.sqlite:
        pytest.skip("SQLite's relays look at the file; nobody notifies")
    with psycopg.connect(store.url, autocommit=True) as listening:
        listening.execute("LISTEN events_due")
        with Session(store.ledger.engine) as session, session.begin():
            store.ledger.events.append(session.connection(), [envelope(uuid4())])
        assert [notify.channel for notify in listening.notifies(timeout=10, stop_after=1)] == ["events_due"]
