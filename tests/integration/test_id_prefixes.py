"""Ids are given by as many of their first characters as tell them from the others."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from events.ledger.envelope import Envelope
from events.ledger.identity import SENT_AS, received_id
from events.ledger.parked import Parked
from events.operating.prefixes import bounds
from support.operator import Operator
from support.store import OOPS, Store

ONE, TWO = (UUID(f"01a2222{last}-d24d-72e1-ae35-e17657afd944") for last in "12")
ALIKE = UUID("01a22222-d24d-72e1-ae35-ffffffffffff")


@pytest.fixture
def operator(store: Store) -> Operator:
    return Operator(store.url, EVENTS_EDIT="on", EVENTS_HANDLERS="colorsys")


def dead(store: Store) -> None:
    """Dead letters of ONE, TWO and ALIKE, whose ids begin as TWO's does."""
    store.subscribe()
    store.publish(ONE, TWO, ALIKE)
    for wakeup in store.take():
        store.ledger.inbox.bury(store.claim(wakeup), OOPS)


def test_an_event_is_meant_by_the_beginning_of_its_id(store: Store, operator: Operator) -> None:
    dead(store)
    assert operator.gets("show", "01a22221")["event_id"] == str(ONE)  # type: ignore[index, call-overload]
    assert operator.gets("show", "01A22221-D2")["event_id"] == str(ONE)  # type: ignore[index, call-overload]
    # And one that several have is refused, with their names
    refused = operator.is_refused(1, "show", "01a22222")
    assert all(str(one) in refused for one in (TWO, ALIKE))
    assert str(ONE) not in refused
    assert refused.count("\n") == 1
    assert "valid UUID" in operator.is_refused(2, "show", "02")


def test_so_are_dead_letters_by_whatever_is_done_to_them(store: Store, operator: Operator) -> None:
    dead(store)
    assert str(TWO) in operator.sees("dead", "show", "01a22222-d24d-72e1-ae35-e")
    for command in ("show", "replay", "discard", "edit"):
        more = ['{"n": 2}'] if command == "edit" else []
        refused = operator.is_refused(1, "dead", command, "01a2222", *more)
        assert all(str(one) in refused for one in (ONE, TWO, ALIKE)), command
        assert "begins with 02" in operator.is_refused(1, "dead", command, "02", *more)
        assert "valid UUID" in operator.is_refused(2, "dead", command, "order-17", *more)
    # When two are named so, and one of them twice, then both are taken, and the third is as it was
    assert operator.sees("dead", "discard", "01a22221", str(TWO), "01a22221-d24d") == "2 discarded\n"
    assert store.row(ALIKE).state == "dead"
    # And they are told from each other only, not from what is not discarded
    assert operator.sees("dead", "restore", "01a22222") == "1 restored\n"
    assert store.row(TWO).state == "dead"
    assert operator.sees("dead", "replay", "01a22222-d24d-72e1-ae35-e1") == "1 replayed\n"


def test_so_are_parked_messages(store: Store, operator: Operator) -> None:
    for one in (ONE, TWO, ALIKE):
        store.ledger.parked.park(Parked(one, "q", "not a wake-up", "?", b"x", {}))
    assert str(ONE) in operator.sees("parked", "show", "01a22221")
    assert all(str(one) in operator.is_refused(1, "parked", "discard", "01a22222") for one in (TWO, ALIKE))
    assert operator.sees("parked", "discard", "01a22221") == "1 discarded\n"
    assert operator.sees("parked", "restore", "01") == "1 restored\n"
    assert "begins with 02" in operator.is_refused(1, "parked", "replay", "02")


def test_a_sender_s_own_id_comes_before_a_beginning(store: Store, operator: Operator) -> None:
    # Given an event that its sender calls as another one's id begins here
    dead(store)
    metadata = json.dumps({"source": "/theirs", SENT_AS: "01a22221"})
    theirs = Envelope(received_id("/theirs", "01a22221"), "a-1", "Said", "{}", 1, datetime.now(UTC), 1, metadata)
    with store.ledger.events.begin() as connection:
        store.ledger.events.append(connection, [theirs])
    # Then it is the one that is shown, and the other by more of its id
    assert operator.gets("show", "01a22221")["event_id"] == str(theirs.id)  # type: ignore[index, call-overload]
    assert operator.gets("show", "01a22221-")["event_id"] == str(ONE)  # type: ignore[index, call-overload]


@pytest.mark.parametrize("text", ["", "-", "x", "0-", "01a22222d-", "01a222222-", "order", "0" * 33, "0x1", "\u0661"])
def test_what_no_id_begins_with_is_none(text: str) -> None:
    assert bounds(text) is None


@pytest.mark.parametrize("count", [1, 8, 9, 10, 13, 14, 18, 23, 24, 35])
def test_every_beginning_is_one(count: int) -> None:
    around = bounds(str(ONE)[:count])
    assert around is not None
    assert around[0] <= ONE <= around[1]
    assert bounds(str(ONE).upper()[:count]) == around
