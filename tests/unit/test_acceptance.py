"""Which events may come in through a bridge: public ones, and what its URL names."""

import json
from uuid import uuid4

import pytest

from events import DomainEvent, IntegrationEvent
from events.acceptance import Acceptance
from events.bridging import Received
from events.forms import Unacceptable
from events.letters import Parked
from events.records import Subscription
from events.testing import InlinePipeline


class RefundGranted(DomainEvent):
    order: str


class RefundOffered(IntegrationEvent, name="refunds.offered.v1"):
    order: str


FOREIGN = {"theirs.public.v1": True, "TheirPrivate": False}  # what other code here is subscribed to


def message(event_type: str) -> Received:
    body = json.dumps({"order": "o-1", "eventId": str(uuid4()), "eventType": event_type})
    return Received(body.encode(), {}, "queue", "1")


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
    ledger, takes = events_pipeline.ledger, dict[str, tuple[str, ...]]()
    acceptance = Acceptance(ledger.events, lambda: FOREIGN, 10_000, accepted_by=lambda name: takes.get(name, ()))
    found = message("RefundGranted")
    properties = {"bridge": "partner", "headers": dict(found.headers), "address": "queue", "position": "1"}
    parked = Parked(uuid4(), "bridge.partner", "bridge: private event", "", found.body, properties, "w")
    # When it is replayed, then it stays where it is, until the bridge of that name names it
    for named, comes_in in [({}, False), ({"other": ("*",)}, False), ({"partner": ("RefundGranted",)}, True)]:
        takes.clear()
        takes.update(named)
        with ledger.events.begin() as connection:
            assert acceptance.publish_parked(parked, connection) is comes_in


def test_the_ledger_knows_which_events_are_public_as_the_newest_code_says(events_pipeline: InlinePipeline) -> None:
    # Given handlers of a public event and of a private one
    subscriptions = events_pipeline.ledger.subscriptions
    subscriptions.subscribe([Subscription("A", "one", "q", 3, public=True), Subscription("B", "one", "q", 3)])
    subscriptions.subscribe([Subscription("B", "two", "q", 3, public=True)])
    known = subscriptions.event_types()
    assert {name: known[name] for name in "AB"} == {"A": True, "B": True}
    # When the event is made private, then it is
    subscriptions.subscribe([Subscription("A", "one", "q", 3)])
    assert subscriptions.event_types()["A"] is False
