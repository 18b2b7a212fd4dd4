"""Which events may come in through a bridge: public ones, and what its URL names."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from sqlalchemy import update

from events import DomainEvent, IntegrationEvent
from events.bridges import open_bridge
from events.bridges.acceptance import Acceptance
from events.bridges.contract import Received
from events.errors import Unacceptable
from events.ledger.parked import Parked
from events.ledger.records import Subscription
from events.pipeline import Pipeline
from events.settings.settings import Settings
from events.store.tables import event_parked, event_subscriptions
from events.testing import InlinePipeline


class RefundGranted(DomainEvent):
    order: str


class RefundWithdrawn(DomainEvent):
    order: str


class RefundOffered(IntegrationEvent, name="refunds.offered.v1"):
    order: str


def parked_message(bridge: str, kept: dict[str, Any]) -> Parked:
    found = message("RefundGranted")
    properties = {"bridge": bridge, "headers": dict(found.headers), "address": "queue", "position": "1"} | kept
    return Parked(uuid4(), f"bridge.{bridge}", "bridge: private event", "", found.body, properties, "w")


FOREIGN = {
    "theirs.public.v1": True,
    "TheirPrivate": False,
    "RefundWithdrawn": True,
    "refunds.offered.v1": False,
}  # what other code here is subscribed to


def message(event_type: str, order: object = "o-1") -> Received:
    body = json.dumps({"order": order, "eventId": str(uuid4()), "eventType": event_type})
    return Received(body.encode(), {}, "queue", "1")


class Brings:
    """A bridge, and its subscriber, that brings one message."""

    def __init__(self, received: Received) -> None:
        self._received = received

    def subscriber(self, _: object) -> "Brings":
        return self

    def receive(self, _: float) -> list[Received]:
        return [self._received]

    def acknowledge(self, _: object) -> None: ...


@pytest.mark.parametrize(
    ("event_type", "accept", "reason"),
    [
        ("refunds.offered.v1", (), ""),
        ("theirs.public.v1", (), ""),
        ("RefundGranted", (), "private event"),
        ("TheirPrivate", (), "private event"),
        ("RefundGranted", ("TheirPrivate",), "private event"),
        ("RefundGranted", ("TheirPrivate", "RefundGranted"), ""),
        ("RefundGranted", ("refundgranted",), "private event"),
        ("TheirPrivate", ("TheirPrivate",), ""),
        ("RefundGranted", ("*",), ""),
        ("TheirPrivate", ("*",), ""),
        ("RefundWithdrawn", (), "private event"),  # whatever a subscription of older code says
        ("RefundWithdrawn", ("RefundWithdrawn",), ""),
        ("Nobody", ("*",), "unknown event"),
        ("Nobody", ("Nobody",), "unknown event"),
        ("x" * 300, ("*",), "unknown event"),
    ],
)
def test_public_events_come_in_and_what_the_bridge_names(
    events_pipeline: InlinePipeline, event_type: str, accept: tuple[str, ...], reason: str
) -> None:
    acceptance = Acceptance(events_pipeline.ledger.events, lambda: FOREIGN, 10_000)
    acceptance.refresh()
    if not reason:
        assert acceptance.envelope(message(event_type), "redis", accept).event_type == event_type
        return
    with pytest.raises(Unacceptable) as refused:
        acceptance.envelope(message(event_type), "redis", accept)
    assert refused.value.reason == f"bridge: {reason}"


def test_what_is_private_says_how_it_may_come_in(events_pipeline: InlinePipeline) -> None:
    acceptance = Acceptance(events_pipeline.ledger.events, dict, 10_000)
    with pytest.raises(Unacceptable, match=r"make it an IntegrationEvent, or .* \?accept=RefundGranted in its URL"):
        acceptance.envelope(message("RefundGranted"), "redis", ())


def test_what_was_parked_comes_in_when_its_bridge_takes_it(events_pipeline: InlinePipeline) -> None:
    # Given a private event that is parked, and one public by what other code says
    ledger, takes = events_pipeline.ledger, dict[tuple[str, str], tuple[str, ...]]()
    acceptance = Acceptance(ledger.events, lambda: FOREIGN, 10_000, accepted_by=lambda *which: takes.get(which))
    parked = parked_message("partner", {"from": "http://a/x", "accept": []})
    # When it is replayed, then it stays where it is, until the bridge of that name and place names it
    for named, comes_in in [
        ({}, False),
        ({("other", "http://a/x"): ("*",)}, False),
        ({("partner", "http://a/y"): ("*",)}, False),
        ({("partner", "http://a/x"): ("RefundGranted",)}, True),
    ]:
        takes.clear()
        takes.update(named)
        with ledger.events.begin() as connection:
            assert acceptance.publish_parked(parked, connection) is comes_in


@pytest.mark.parametrize(
    ("kept", "now", "comes_in"),
    [
        ({}, ("*",), False),  # it doesn't say which bridge it was
        ({"accept": ["*"]}, None, True),
        ({"from": "http://a/x", "accept": ["*"]}, None, True),
        ({"from": "http://a/x", "accept": ["Other"]}, None, False),
        ({"from": "http://a/x", "accept": ["*"]}, (), False),  # today it is taken no more
    ],
)
def test_what_its_bridge_took_counts_unless_that_says_otherwise_now(
    events_pipeline: InlinePipeline, kept: dict[str, Any], now: tuple[str, ...] | None, comes_in: bool
) -> None:
    ledger = events_pipeline.ledger
    acceptance = Acceptance(ledger.events, lambda: FOREIGN, 10_000, accepted_by=lambda *_: now)
    with ledger.events.begin() as connection:
        assert acceptance.publish_parked(parked_message("partner", kept), connection) is comes_in


TEAM = "http://127.0.0.1:18081/team?direction=in&accept=*"


@pytest.mark.parametrize(
    ("came_by", "comes_in"),
    [
        (TEAM, True),
        ("http://127.0.0.1:18081/team?token=partner", False),
        ("http://127.0.0.1:8080/events?token=partner", False),
        ("http://127.0.0.1:18081/events", False),
        ("http://127.0.0.1:8080/events?accept=RefundGranted", True),  # by itself
    ],
)
def test_no_other_bridge_s_leave_counts_whatever_it_is_called(came_by: str, comes_in: bool, tmp_path: Path) -> None:
    # Given a team's bridge that takes everything, and another one, perhaps a partner's; both are called by the scheme
    pipeline = Pipeline(Settings(database_url=f"sqlite:///{tmp_path}/l.db", broker_url="", bridges=TEAM))
    pipeline.migrate()
    address, _ = open_bridge(came_by, pipeline.settings)
    assert address.name == "http"
    # When a private event that came by that one is parked, be it for another reason, and replayed
    pipeline.receiver(address, cast(Any, Brings(message("RefundGranted", order=7))), "w").step()
    (parked,) = pipeline.parked.find()
    assert "partner" not in json.dumps(parked.properties)  # its token
    good = message("RefundGranted").body
    with pipeline.ledger.engine.begin() as connection:
        connection.execute(update(event_parked).values(body=good))
    # Then it comes in by what its own bridge takes, and by nothing else
    assert pipeline.parked.replay() == comes_in


def test_the_ledger_knows_which_events_are_public_as_the_newest_code_says(events_pipeline: InlinePipeline) -> None:
    # Given handlers of a public event and of a private one
    subscriptions = events_pipeline.ledger.subscriptions
    subscriptions.subscribe(
        [
            Subscription(event_type="A", handler="one", queue="q", max_attempts=3, public=True),
            Subscription(event_type="B", handler="one", queue="q", max_attempts=3),
        ]
    )
    subscriptions.subscribe([Subscription(event_type="B", handler="two", queue="q", max_attempts=3, public=True)])
    known = subscriptions.event_types()
    assert {name: known[name] for name in "AB"} == {"A": True, "B": True}
    # When the event is made private, then it is
    subscriptions.subscribe([Subscription(event_type="A", handler="one", queue="q", max_attempts=3)])
    assert subscriptions.event_types()["A"] is False


def test_a_subscription_that_no_worker_has_any_more_says_nothing_beside_one_that_some_worker_has(
    events_pipeline: InlinePipeline,
) -> None:
    # Given handlers of code that had public events, in the ledger still
    subscriptions = events_pipeline.ledger.subscriptions
    subscriptions.subscribe(
        [
            Subscription(event_type="Gone", handler="old", queue="q", max_attempts=3, public=True),
            Subscription(event_type="Both", handler="old", queue="q", max_attempts=3),
        ]
    )
    subscriptions.subscribe([Subscription(event_type="Both", handler="new", queue="q", max_attempts=3, public=False)])
    with events_pipeline.ledger.engine.begin() as connection:
        rows = update(event_subscriptions).where(event_subscriptions.c.handler == "old")
        connection.execute(rows.values(public=True, orphaned_at=datetime.now(UTC)))
    # Then what comes in is said by those that are there
    known = subscriptions.event_types()
    assert known["Both"] is False
    # And where none is, an event waits for the handler that was there, and may come back
    assert known["Gone"] is True
