"""Parked messages: kept as they came, closed once."""

import os
from uuid import UUID, uuid4

from events.errors import TransportError
from events.ledger.parked import Parked, ParkedFilter
from support.store import Store, together


def park(store: Store, reason: str = "not a task", body: bytes = b"x") -> UUID:
    message = Parked(uuid4(), "q", reason, "why", body, {"headers": {"a": [1, None]}}, "w1")
    store.ledger.parked.park(message)
    return message.id


def test_a_parked_message_keeps_any_bytes_and_headers(store: Store) -> None:
    # Given bytes and headers that no text column takes
    body, headers = os.urandom(100_000) + b"\x00", {"nul": "\x00", "half": "\ud800", "deep": [{"a": None}]}
    headers |= {"\x00": 1, "written": "\\u0000 \\ud800", "beyond": float("inf")}
    store.ledger.parked.park(Parked(uuid4(), "q\x00", "r", "d\x00\ud800", body, {"headers": headers}, None))
    # Then the bytes are as they came, and the headers readable
    (found,) = store.ledger.parked.find(ParkedFilter())
    assert found.body == body
    assert found.properties["headers"]["deep"] == [{"a": None}]
    assert found.properties["headers"]["written"] == "\\u0000 \\ud800"


def test_they_are_counted_and_found_by_reason_newest_first(store: Store) -> None:
    first, second, other = park(store, "a"), park(store, "a"), park(store, "b")
    assert store.ledger.parked.counts() == {"a": 2, "b": 1}
    assert [one.id for one in store.ledger.parked.find(ParkedFilter(reason="a"))] == [second, first]
    assert [one.id for one in store.ledger.parked.find(ParkedFilter(ids=[other]))] == [other]
    assert len(store.ledger.parked.find(ParkedFilter(limit=2))) == 2


def test_two_clicks_replay_each_message_once(store: Store) -> None:
    # Given ten messages
    for number in range(10):
        park(store, body=bytes([number]))
    sent: list[Parked] = []

    # When two operators replay them at once
    def click() -> int:
        return store.ledger.parked.replay(ParkedFilter(), lambda message, _: sent.append(message) or True)

    counts = together(click, click)
    # Then each was sent once
    assert sum(counts) == 10
    assert sorted(one.body for one in sent) == [bytes([number]) for number in range(10)]
    assert store.ledger.parked.counts() == {}


def test_a_message_that_cant_be_sent_stays_parked(store: Store) -> None:
    park(store)

    def refuse(*_: object) -> bool:
        raise TransportError("no")

    try:
        store.ledger.parked.replay(ParkedFilter(), refuse)
    except TransportError:
        assert store.ledger.parked.counts() == {"not a task": 1}
    else:
        raise AssertionError("the error was swallowed")


def test_a_message_that_is_refused_stays_parked(store: Store) -> None:
    park(store)
    assert store.ledger.parked.replay(ParkedFilter(), lambda *_: False) == 0
    assert store.ledger.parked.counts() == {"not a task": 1}


def test_a_message_is_parked_once(store: Store) -> None:
    message_id = park(store)
    (message,) = store.ledger.parked.find(ParkedFilter(ids=[message_id]))
    store.ledger.parked.park(message)
    assert store.ledger.parked.counts() == {"not a task": 1}


def test_discarding_closes_and_keeps_the_row(store: Store) -> None:
    park(store)
    assert store.ledger.parked.discard(ParkedFilter()) == 1
    assert store.ledger.parked.discard(ParkedFilter()) == 0
    assert store.ledger.parked.find(ParkedFilter()) == []
