"""Receive, write, acknowledge: in this order, whatever is in the way. The server is played, the ledger is real."""

import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from events import DomainEvent
from events.bridges.acceptance import Acceptance
from events.bridges.cloudevents import outgoing
from events.bridges.contract import Received
from events.bridges.receiving import Receiver
from events.errors import TransportError
from events.hooks import Hooks
from events.ledger.envelope import Envelope
from events.store.database.availability import mark
from events.store.tables import event_store
from events.testing import InlinePipeline
from support.waiting import eventually


class Overheard(DomainEvent):
    text: str = ""


class Server:
    """Hands out what is not acknowledged, again and again."""

    def __init__(self, pipeline: InlinePipeline) -> None:
        self._pipeline = pipeline
        self.messages: list[Received] = []
        self.stored_when_acknowledged: list[int] = []
        self.away = False
        self.closed = False

    def brings(self, *events: DomainEvent) -> None:
        for event in events:
            message = outgoing(event, "/them")
            self.messages.append(Received(message.body, message.headers(), "s", str(uuid4()), "Overheard"))

    def receive(self, timeout: float) -> Sequence[Received]:
        if self.away:
            raise TransportError("no answer")
        return list(self.messages)

    def acknowledge(self, received: Sequence[Received]) -> None:
        self.stored_when_acknowledged.append(stored(self._pipeline))
        self.messages = [one for one in self.messages if one not in received]

    def close(self) -> None:
        self.closed = True


class Refusing:
    """An event log that fails as a database does: all of it, or for an event that contains what it hates."""

    def __init__(self, pipeline: InlinePipeline) -> None:
        self._events = pipeline.ledger.events
        self.away = False
        self.hates = ""
        self.why: Exception = IntegrityError("INSERT", {}, sqlite3.IntegrityError("not this one"))

    def begin(self) -> AbstractContextManager[Connection]:
        if self.away:
            away = sqlite3.OperationalError("unable to open database file")
            away.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
            error = OperationalError("BEGIN", {}, away)
            mark(error)  # as the ledger's engine does
            raise error
        return self._events.begin()

    def append(self, connection: Connection, envelopes: Sequence[Envelope]) -> None:
        if self.hates and any(self.hates in one.event_data for one in envelopes):
            raise self.why
        self._events.append(connection, envelopes)

    def stored(self, connection: Connection, ids: Collection[UUID]) -> dict[UUID, Envelope]:
        return self._events.stored(connection, ids)


@pytest.fixture
def server(events_pipeline: InlinePipeline) -> Server:
    return Server(events_pipeline)


@pytest.fixture
def database(events_pipeline: InlinePipeline) -> Refusing:
    return Refusing(events_pipeline)


@pytest.fixture
def receiver(events_pipeline: InlinePipeline, server: Server, database: Refusing) -> Iterator[Receiver]:
    ledger: Any = events_pipeline.ledger
    acceptance = Acceptance(database, ledger.subscriptions.event_types, 10_000)
    receiver = Receiver(
        name="played", accept=("*",), subscriber=server, acceptance=acceptance, events=database, lot=ledger.parked,
        inbox=ledger.inbox, hooks=Hooks(), worker="test",
    )  # fmt: skip
    yield receiver
    receiver.stop()


def stored(pipeline: InlinePipeline) -> int:
    with pipeline.ledger.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(event_store)) or 0


def running(receiver: Receiver) -> threading.Thread:
    thread = threading.Thread(target=receiver.run)
    thread.start()
    return thread


def test_it_is_acknowledged_when_it_is_committed(server: Server, receiver: Receiver) -> None:
    server.brings(Overheard(), Overheard())
    assert receiver.step() == 2
    assert server.stored_when_acknowledged == [2]


def test_while_the_database_is_away_nothing_is_acknowledged(
    server: Server, receiver: Receiver, database: Refusing, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a database that is away
    database.away = True
    server.brings(Overheard())
    thread = running(receiver)
    eventually(lambda: "waits for the database, with 1 messages" in caplog.text, "it says what it waits for")
    assert server.stored_when_acknowledged == []
    # When it is back
    database.away = False
    # Then what was held is written, and acknowledged
    eventually(lambda: server.stored_when_acknowledged == [1], "it was acknowledged")
    receiver.stop()
    thread.join()
    assert server.closed


def test_told_to_stop_meanwhile_it_leaves_the_messages_to_others(
    server: Server, receiver: Receiver, database: Refusing, caplog: pytest.LogCaptureFixture
) -> None:
    database.away = True
    server.brings(Overheard())
    thread = running(receiver)
    eventually(lambda: "waits for the database" in caplog.text, "it has received")
    receiver.stop()
    thread.join()
    assert (len(server.messages), server.closed) == (1, True)


def test_what_the_database_refuses_is_parked_and_the_others_are_stored(
    server: Server, receiver: Receiver, database: Refusing, events_pipeline: InlinePipeline
) -> None:
    database.hates = "poison"
    server.brings(Overheard(text="a"), Overheard(text="poison"), Overheard(text="b"))
    receiver.step()
    assert server.stored_when_acknowledged == [2]
    assert events_pipeline.parked.counts() == {"bridge: not stored": 1}


def test_a_database_that_is_in_no_order_is_no_message_s_fault(
    server: Server, receiver: Receiver, database: Refusing, events_pipeline: InlinePipeline
) -> None:
    # Given a table that is missing
    database.hates, database.why = "{", ProgrammingError("INSERT", {}, sqlite3.ProgrammingError("no such table"))
    server.brings(Overheard(), Overheard())
    # When messages come, then they are neither parked nor acknowledged
    with pytest.raises(ProgrammingError):
        receiver.step()
    assert (events_pipeline.parked.counts(), server.stored_when_acknowledged) == ({}, [])
    # When somebody has put it right, then they are stored
    database.hates = ""
    receiver.step()
    assert server.stored_when_acknowledged == [2]


def test_what_is_parked_twice_is_there_once(
    server: Server, receiver: Receiver, database: Refusing, events_pipeline: InlinePipeline
) -> None:
    # Given a message that was parked, and not acknowledged, since the process died in between
    database.hates = "poison"
    server.brings(Overheard(text="poison"))
    again = list(server.messages)
    receiver.step()
    # When it comes again
    server.messages = again
    receiver.step()
    # Then it is there once
    assert events_pipeline.parked.counts() == {"bridge: not stored": 1}


def test_a_server_that_is_away_is_waited_for(
    server: Server, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    server.away = True
    server.brings(Overheard())
    thread = running(receiver)
    eventually(lambda: "waits for its server: no answer" in caplog.text, "it says what it waits for")
    server.away = False
    eventually(lambda: server.stored_when_acknowledged == [1], "it goes on")
    receiver.stop()
    thread.join()
