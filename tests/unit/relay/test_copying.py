"""Copies of dead letters: all that a broker can hold, in its own time."""

import logging
from collections.abc import Collection, Sequence
from uuid import uuid4

import pytest

from events.errors import TransportError, Unsendable
from events.ledger.dead_letters import DeadLetter
from events.relay.copying import Copying
from events.throttle import Throttle


class Ledger:
    """Dead letters without a copy, and those that have one or never will."""

    def __init__(self, *handlers: str) -> None:
        self.uncopied = [letter(handler) for handler in handlers]

    def take_uncopied(self, limit: int) -> list[DeadLetter]:
        return self.uncopied[:limit]

    def mark_copied(self, letters: Collection[DeadLetter]) -> None:
        self.uncopied = [one for one in self.uncopied if one not in letters]

    def masked(self) -> dict[str, set[str]]:
        return {}


class Broker:
    """Takes copies, except of some handlers; none when it is away."""

    def __init__(self, *refused: str) -> None:
        self.copies: list[str] = []
        self.refused, self.is_away = refused, False

    def send_dead(self, letters: Sequence[DeadLetter]) -> None:
        if self.is_away:
            raise TransportError("the broker is away")
        if any(one.handler in self.refused for one in letters):
            raise Unsendable("too large")
        self.copies += [one.handler for one in letters]


def letter(handler: str) -> DeadLetter:
    return DeadLetter(
        event_id=uuid4(), handler=handler, queue="q", event_type="Said", aggregate_id="a", event_data="{}",
        metadata="{}", attempts=1, attempts_before=0, replays=0, worker="w1", error_type="ValueError", error="no",
        traceback="", place="", published_at=None, first_started_at=None, died_at=None,
    )  # fmt: skip


def copying(ledger: Ledger, broker: Broker, batch: int = 2) -> Copying:
    throttle = Throttle(logging.getLogger("events.relay"))
    return Copying(
        recovery=ledger, subscriptions=ledger, transport=broker, batch=batch, throttle=throttle,  # type: ignore[arg-type]
    )  # fmt: skip


def test_all_are_copied_a_batch_at_a_time() -> None:
    ledger, broker = Ledger("a", "b", "c", "d", "e"), Broker()
    copying(ledger, broker).copy_all()
    assert broker.copies == ["a", "b", "c", "d", "e"]
    assert ledger.uncopied == []


def test_one_that_the_broker_can_not_hold_is_named_and_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    # Given a batch with a dead letter that is too large for the broker
    ledger, broker = Ledger("a", "large", "c", "d"), Broker("large")
    copying(ledger, broker, batch=4).copy_all()
    # Then the others are copied, it is not tried again, and the log says which it was
    assert broker.copies == ["a", "c", "d"]
    assert ledger.uncopied == []
    (record,) = (one for one in caplog.records if one.levelno == logging.ERROR)
    assert "large" in record.getMessage()


def test_while_the_broker_is_away_they_wait_in_the_ledger() -> None:
    # Given a broker that is away
    ledger, broker = Ledger("a", "b", "c"), Broker()
    broker.is_away = True
    copying(ledger, broker).copy_all()
    assert len(ledger.uncopied) == 3
    # When it is back, then all are copied
    broker.is_away = False
    copying(ledger, broker).copy_all()
    assert broker.copies == ["a", "b", "c"]
