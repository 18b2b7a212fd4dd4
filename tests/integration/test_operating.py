"""The operator's other commands: handlers, status, tail, edit; and what nobody is shown."""

import json
import signal
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from events import DomainEvent
from events.ledger.codec import encode
from events.ledger.envelope import Envelope
from events.ledger.parked import Parked, ParkedFilter
from events.ledger.records import Subscription
from support.operator import Operator
from support.store import OOPS, Store
from support.system import TESTS

SECRET = "DE89370400440532013000"


class Paid(DomainEvent, masked=("iban",)):
    iban: str = SECRET


@pytest.fixture
def operator(store: Store) -> Operator:
    return Operator(store.url)


def died(store: Store, event: Envelope) -> UUID:
    """An event whose only delivery is a dead letter."""
    store.subscribe(event_type=event.event_type, max_attempts=1)
    with store.ledger.events.begin() as connection:
        store.ledger.events.append(connection, [event])
    store.ledger.inbox.bury(store.claim(store.take()[0]), OOPS)
    return event.id


def placed(amount: object, metadata: str = "{}") -> Envelope:
    data = json.dumps({"order": "o-1", "amount": amount})
    return Envelope(uuid4(), "o-1", "OrderPlaced", data, 1, datetime.now(UTC), 1, metadata)


def test_a_handler_is_paused_resumed_and_retired(store: Store, operator: Operator) -> None:
    # Given a handler for which something waits
    store.subscribe()
    store.publish()
    store.ledger.outbox.fan_out(10)
    # When it is paused, then the list says so and by whom; a second time changes nothing
    assert operator.sees("handlers", "pause", "hear", "--actor", "ann").strip() == "hear is paused"
    assert "already" in operator.sees("handlers", "pause", "hear")
    (listed,) = operator.gets("handlers", "list")  # type: ignore[misc]
    assert (listed["paused"], listed["changed_by"], listed["waiting"]) == (True, "ann", 1)
    assert "paused by ann" in operator.sees("handlers", "list")
    # When it is resumed and retired
    assert operator.sees("handlers", "resume", "hear").strip() == "hear is resumed"
    assert operator.sees("handlers", "retire", "hear", "--dry-run").strip() == "1 delivery would be discarded"
    assert operator.sees("handlers", "retire", "hear").strip() == "hear is retired, 1 delivery discarded"
    # Then a name that nobody has is refused, with those that there are
    assert "knows none" in operator.is_refused(1, "handlers", "pause", "heer")


def test_status_tells_errors_and_what_waits(store: Store, operator: Operator) -> None:
    store.dead(2)
    store.publish()
    told = operator.gets("status")
    assert isinstance(told, dict)
    assert told["event_types"]["Said"] == {"count": 3, "errors": 2, "waiting": 1, "last_minute": 3, "dead": 2}
    assert told["handlers"]["hear"]["deliveries"] == {"dead": 2, "pending": 1}  # the latter as an event
    assert told["lag_seconds"] >= 0
    shown = operator.sees("status")
    for words in ("3 events", "2 are dead", "no worker is alive", "Said", "hear"):
        assert words in shown


def test_all_that_one_request_caused_is_found(store: Store, operator: Operator) -> None:
    first = placed(1)
    caused = placed(2, f'{{"correlation_id": "{first.id}", "causation_id": "{first.id}"}}')
    with store.ledger.events.begin() as connection:
        store.ledger.events.append(connection, [first, caused, placed(3), placed(4, '{"correlation_id": "r-1"}')])
    found = operator.gets("find", "--correlation", first.id)
    assert {one["event_id"] for one in found} == {str(first.id), str(caused.id)}  # type: ignore[attr-defined]
    assert len(operator.gets("find", "--correlation", "r-1")) == 1  # type: ignore[arg-type]


def test_tail_tells_what_happens_while_it_happens(store: Store, operator: Operator) -> None:
    # Given somebody who follows
    store.subscribe()
    with operator.begins("tail", "--json", "--every", "0.1", "--since", "1m") as tail:
        assert tail.stdout is not None
        # When an event is published, handled by one worker in vain, and by another with success
        event_id = store.publish()
        said = [json.loads(tail.stdout.readline())]
        store.ledger.inbox.bury(store.claim(store.take()[0]), OOPS)
        said.append(json.loads(tail.stdout.readline()))
        if said[-1]["what"] == "started":  # it looked between the two
            said[-1] = json.loads(tail.stdout.readline())
        tail.send_signal(signal.SIGINT)
    assert tail.returncode == 130
    # Then he reads of it in order
    assert [(one["what"], one["event_id"], one["handler"]) for one in said] == [
        ("published", str(event_id), ""), ("dead", str(event_id), "hear"),
    ]  # fmt: skip
    assert said[1]["detail"] == "attempt 1: ValueError: no"
    # And who comes later can still look back
    lines = operator.sees("tail", "--once", "--since", "1h").splitlines()
    assert [line.split()[3:5] for line in lines] == [["a-1", "published"], ["->", "hear"]]
    assert operator.sees("tail", "--once", "--since", "1h", "--event", "Sung") == ""


@pytest.mark.parametrize("command", [("status",), ("dead", "groups"), ("handlers", "list")])
def test_a_database_that_is_down_is_one_line(command: tuple[str, ...]) -> None:
    said = Operator("postgresql://me:s3cret@127.0.0.1:1/shop").is_refused(1, *command)
    assert "EVENTS_DATABASE_URL" in said
    assert "s3cret" not in said
    assert said.count("\n") == 1


def test_masked_fields_are_hidden_where_the_class_is_not_loaded(store: Store, operator: Operator) -> None:
    event_id = died(store, encode(Paid(), max_bytes=1000))
    for command in (("show", event_id), ("dead", "show", event_id), ("show", event_id, "--json"),
                    ("dead", "list", "--json"), ("dead", "show", event_id, "--json")):  # fmt: skip
        shown = operator.sees(*command)
        assert SECRET not in shown
        assert "***" in shown


def test_what_a_bridge_brought_and_was_parked_is_masked(store: Store, operator: Operator) -> None:
    # Given a message that nobody could take, and a handler that knows which field is nobody's business
    store.ledger.subscriptions.subscribe(
        [Subscription(event_type="Paid", handler="book", queue="q", max_attempts=3, masked=("iban",))]
    )
    body = json.dumps({"iban": SECRET, "eventType": "Unknown"}).encode()
    message = Parked(uuid4(), "bridge.redis", "bridge: unknown event", "?", body, {"bridge": "redis"})
    store.ledger.parked.park(message)
    # When it is looked at, then it is masked, while the ledger has its bytes
    for command in (
        ("parked", "show", message.id),
        ("parked", "show", message.id, "--json"),
        ("parked", "list", "--json"),
    ):
        shown = operator.sees(*command)
        assert SECRET not in shown
        assert "***" in shown
    (kept,) = store.ledger.parked.find(ParkedFilter())
    assert kept.body == body


def test_wrong_data_is_corrected_and_run_again(store: Store) -> None:
    # Given a dead letter whose data was wrong
    event_id = died(store, placed(-1))
    shop = {"PYTHONPATH": str(TESTS / "support" / "application"), "EVENTS_HANDLERS": "shop", "SHOP_STARTS": "/dev/null"}
    careful, bold = Operator(store.url, **shop), Operator(store.url, **shop, EVENTS_EDIT="on")
    # When it is corrected without leave, or with what its class refuses, nothing happens
    assert "EVENTS_EDIT=on" in careful.is_refused(1, "dead", "edit", event_id, '{"amount": 5}')
    assert "'amount'" in bold.is_refused(1, "dead", "edit", event_id, '{"amount": "many"}')
    assert "NUL" in bold.is_refused(1, "dead", "edit", event_id, r'{"note": "a\u0000b"}')
    small = Operator(store.url, **shop, EVENTS_EDIT="on", EVENTS_MAX_PAYLOAD_BYTES="60")
    assert "EVENTS_MAX_PAYLOAD_BYTES" in small.is_refused(1, "dead", "edit", event_id, f'{{"note": "{60 * "a"}"}}')
    assert "no JSON" in bold.is_refused(2, "dead", "edit", event_id, "amount=5")
    assert "events dead list" in bold.is_refused(1, "dead", "edit", uuid4(), '{"amount": 5}')
    garbage = died(store, replace(placed(1), event_data='"garbage"'))
    assert "no JSON object" in bold.is_refused(1, "dead", "edit", garbage, '{"amount": 5}')
    assert store.row(event_id).state == "dead"
    # When it is corrected
    said = bold.sees("dead", "edit", event_id, '{"amount": 5}', "--actor", "ann")
    corrected = UUID(said.split()[-1])
    # Then the dead letter is discarded, and a copy with the right data is due for its handler
    assert store.row(event_id).state == "discarded"
    (wakeup,) = store.take()
    assert (wakeup.event_id, wakeup.handler) == (corrected, "hear")
    assert json.loads(store.claim(wakeup).envelope.event_data) == {"order": "o-1", "amount": 5}
    # And each tells of the other
    told, copy = bold.gets("show", event_id), bold.gets("show", corrected)
    assert isinstance(told, dict)
    assert isinstance(copy, dict)
    assert told["caused"][0]["event_id"] == str(corrected)
    assert copy["metadata"]["corrects"] == str(event_id)
    assert [(one["action"], one["actor"]) for one in copy["actions"]] == [("edit", "ann")]
    # And a second time finds nothing dead
    bold.is_refused(1, "dead", "edit", event_id, '{"amount": 5}')
