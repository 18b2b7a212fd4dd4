"""Messages that are no wake-ups: every one is parked with its bytes and a reason, and the worker lives on."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import shop
from events import publish
from events.ledger.parked import Parked
from events.ledger.records import Wakeup
from events.transport.message import wakeup_message
from support.messages import Sender
from support.size import sized
from support.system import BROKERS, Process, System
from support.waiting import eventually

MANY = sized(2_500, 10_000)  # messages


@pytest.fixture(scope="module", params=sorted(BROKERS))
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(request.param, tmp_path_factory.mktemp(request.param)).in_use() as system:
        system.start_worker()
        yield system


@pytest.fixture(scope="module")
def sender(system: System) -> Iterator[Sender]:
    sender = Sender(system)
    yield sender
    sender.close()


def wakeup() -> tuple[list[Any], dict[str, Any]]:
    """Body and headers of a well-formed wake-up, of a delivery that doesn't exist."""
    message = wakeup_message((Wakeup(uuid4(), "book_order", "some-queue", 1),))
    return json.loads(message.body), message.headers


def header(**changes: Any) -> Callable[[Sender], None]:
    def send(sender: Sender) -> None:
        body, headers = wakeup()
        sender.send(json.dumps(body).encode(), headers | changes)

    return send


def without(name: str) -> Callable[[Sender], None]:
    def send(sender: Sender) -> None:
        body, headers = wakeup()
        del headers[name]
        sender.send(json.dumps(body).encode(), headers)

    return send


def body(value: bytes) -> Callable[[Sender], None]:
    return lambda sender: sender.send(value, wakeup()[1])


def kind(content_type: Any, content_encoding: Any = "utf-8") -> Callable[[Sender], None]:
    return lambda sender: sender.send(json.dumps(wakeup()[0]).encode(), wakeup()[1], content_type, content_encoding)


SHAPES: dict[str, Callable[[Sender], None]] = {
    # What Celery can't run, and drops or acknowledges without a word
    "unknown task": header(task="no.such.task"),
    "a task of Celery's own": lambda sender: sender.send(
        b'[[], {}, {}]', {"task": "celery.backend_cleanup", "id": str(uuid4()), "lang": "py"}
    ),
    "unknown handler in our own header": header(events={"event_id": str(uuid4()), "handler": "gone", "queue": "q",
                                                        "attempt": 1}),
    "body is not JSON": body(b"{]"),
    "body is no text": body(b"\xff\xfe\x00\x80"),
    "wrong content type": kind("text/plain"),
    "disallowed serializer": kind("application/x-python-serialize", "binary"),
    "no content type": kind(None, None),
    "protocol 1": lambda sender: sender.send(
        json.dumps({"task": "book_order", "id": str(uuid4()), "args": [], "kwargs": {}}).encode(), {}
    ),
    "no Celery message": lambda sender: sender.send(b'{"hello": "world"}', {"x-mine": "yes"}),
    "empty": lambda sender: sender.send(b"", {}),
    "expired": header(expires="2001-01-01T00:00:00+00:00"),
    "eta in the year 9999": header(eta="9999-01-01T00:00:00+00:00"),
    "a megabyte too much": body(b"[" + b" " * 1_000_000 + b"]"),
    # What ends a stock worker, or makes it reconnect for ever
    "unknown content encoding": kind("application/json", "no-such-encoding"),
    "body is a pair": body(b"[[], {}]"),
    "body is an object": body(b"{}"),
    "body is null": body(b"null"),
    "body is a number": body(b"7"),
    "body is empty": body(b""),
    "embed is a list": body(json.dumps([*wakeup()[0][:2], []]).encode()),
    "task is a list": header(task=["book_order"]),
    "task is an object": header(task={"a": 1}),
    "time limit is text": header(timelimit="soon"),
    "time limit is a triple": header(timelimit=[1, 2, 3]),
    "time limits are text": header(timelimit=["1", "2"]),
    "no id": without("id"),
    "id is null": header(id=None),
    "another id": header(id=str(uuid4())),
    "retries is text": header(retries="many"),
    "attempt is text": header(events={"event_id": str(uuid4()), "handler": "book_order", "queue": "q", "attempt": "x"}),
    "compressed, it says": header(compression="application/x-bz2"),
    "a chain in the headers": header(chain=[{"task": "book_order"}]),
    "stamps": header(stamped_headers=["a"], stamps={"a": 1}),
    "a delivery that doesn't exist": lambda sender: sender.send_wakeup(uuid4(), "book_order"),
}  # fmt: skip

RAW = {
    "no JSON": b"garbage",
    "no text": b"\xff\x00\xfe",
    "a number": b"7",
    "an empty object": b"{}",
    "an empty string": b'""',
    "no properties": json.dumps({"body": "", "headers": {}}).encode(),
    "properties of a wrong kind": json.dumps({"body": "", "headers": {}, "properties": []}).encode(),
    "a body that is no base64": json.dumps(
        {"body": "%%%", "headers": {}, "properties": {"delivery_tag": "1", "body_encoding": "base64",
                                                      "delivery_info": {"routing_key": "q", "exchange": ""}}}
    ).encode(),
    "an unknown body encoding": json.dumps(
        {"body": "e30=", "headers": {}, "properties": {"delivery_tag": "2", "body_encoding": "rot13",
                                                       "delivery_info": {"routing_key": "q", "exchange": ""}}}
    ).encode(),
    "deep nesting": b"[" * 100_000,
}  # fmt: skip


def parked_by(system: System, send: Callable[[], None]) -> Parked:
    """What is parked by this one message."""
    before = {message.id for message in system.pipeline.parked.find(limit=None)}
    send()

    def new() -> list[Parked]:
        return [message for message in system.pipeline.parked.find(limit=None) if message.id not in before]

    (found,) = eventually(new, "the message was parked", 30)
    return found


def still_works(system: System, worker: Process) -> None:
    event = shop.OrderPlaced(order="after garbage")
    publish(event)
    assert system.settled(2, event.event_id) == {"succeeded": 2}
    assert worker.alive()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_message_that_cant_be_run_is_parked_and_the_worker_lives_on(
    system: System, sender: Sender, shape: str
) -> None:
    # Given a running worker; When such a message comes
    parked = parked_by(system, lambda: SHAPES[shape](sender))
    # Then it is parked with a reason
    assert (parked.reason, parked.queue) != ("", "")
    assert parked.detail
    # And the worker that took it works on
    still_works(system, system.processes[0])


@pytest.mark.parametrize("system", ["redis"], indirect=True)  # only Redis has a list that anybody can push to
@pytest.mark.parametrize("garbage", RAW)
def test_garbage_pushed_into_the_redis_list_is_parked_byte_for_byte(
    system: System, sender: Sender, garbage: str
) -> None:
    # Given bytes that are no message at all
    parked = parked_by(system, lambda: sender.send_raw(RAW[garbage]))
    # Then all of them are kept
    assert parked.body == RAW[garbage]
    assert parked.reason == "not a message"
    still_works(system, system.processes[0])


def test_a_parked_message_keeps_its_bytes_and_headers(system: System, sender: Sender) -> None:
    # Given a message of another program's
    parked = parked_by(system, lambda: sender.send(b'{"caf\xc3\xa9": [1, 2]}', {"x-from": "billing"}, "text/json"))
    # Then what stood in the queue stands in the ledger
    assert parked.body == b'{"caf\xc3\xa9": [1, 2]}'
    assert parked.properties["headers"]["x-from"] == "billing"
    assert parked.properties["content_type"] == "text/json"
    assert parked.queue == sender.queue


def test_a_parked_message_is_replayed_once_and_can_be_discarded(system: System, sender: Sender) -> None:
    # Given a wake-up that came before its delivery was in the ledger
    event = shop.AsyncWork()
    parked = parked_by(system, lambda: sender.send_wakeup(event.event_id, "works_async"))
    publish(event)
    system.settled(1, event.event_id)
    # When it is replayed, by two clicks
    assert system.pipeline.parked.replay([parked.id]) == 1
    assert system.pipeline.parked.replay([parked.id]) == 0
    # Then it goes through the queue again, and the ledger knows that the work is done
    eventually(lambda: sender.waiting() == 0, "the worker took it")
    still_works(system, system.processes[0])
    assert system.effects(event.event_id) == {(str(event.event_id), "works_async"): 1}
    # And what makes no sense can be discarded
    nonsense = parked_by(system, lambda: sender.send(b"nonsense", {}))
    assert system.pipeline.parked.discard([nonsense.id]) == 1
    assert nonsense.id not in {message.id for message in system.pipeline.parked.find(limit=None)}


def test_parked_messages_are_counted_by_reason(system: System, sender: Sender) -> None:
    # Given a count
    before = system.pipeline.parked.counts().get("not a task", 0)
    # When two more such messages come
    sender.send(b'"one"', {})
    sender.send(b'"two"', {})
    # Then it grows by two
    eventually(lambda: system.pipeline.parked.counts().get("not a task", 0) == before + 2, "both were counted")


@pytest.mark.parametrize("mode", sorted(BROKERS))
def test_of_thousands_of_mutated_messages_every_one_is_accounted_for(mode: str, tmp_path: Path) -> None:
    # Given wake-ups of real deliveries that are done, so that each intact one is refused by the ledger
    with System(mode, tmp_path).in_use() as system:
        worker, sender, dice = system.start_worker(), Sender(system), random.Random(7)
        events = [shop.AsyncWork() for _ in range(20)]
        publish(events)
        system.settled(len(events))
        # When thousands of them come, each changed somewhere
        for number in range(MANY):
            message = wakeup_message((Wakeup(dice.choice(events).event_id, "works_async", sender.queue, 1),))
            mutate(dice, sender, message.body, message.headers, number)
        eventually(lambda: sender.waiting() == 0, "the queue is empty", 240)

        # Then each is parked, or was an intact wake-up that the ledger refused
        def accounted() -> int:
            refused = worker.log.read_text().count(" -> works_async not ours")
            return sum(system.pipeline.parked.counts().values()) + refused

        eventually(lambda: accounted() >= MANY, "all are accounted for")
        assert accounted() == MANY
        assert sum(system.pipeline.parked.counts().values()) > MANY / 2
        # And no effect happened twice, and the worker that started is the one that ends
        assert set(system.effects().values()) == {1}
        still_works(system, worker)
        sender.close()


def mutate(dice: random.Random, sender: Sender, text: str, headers: dict[str, Any], number: int) -> None:
    """Send a wake-up with one thing changed: a bit, a cut, a header, a value, a type."""
    values = [None, True, -1, 2**62, 1.5, "", "x" * 300, "\x00", [], {}, [[]], {"a": [1]}, str(uuid4())]
    match number % 6:
        case 0:
            body = bytearray(text.encode())
            body[dice.randrange(len(body))] ^= 1 << dice.randrange(8)
            sender.send(bytes(body), headers)
        case 1:
            sender.send(text.encode()[: dice.randrange(len(text))], headers)
        case 2:
            sender.send(text.encode(), headers | {dice.choice(list(headers)): dice.choice(values)})
        case 3:
            del headers[dice.choice(list(headers))]
            sender.send(text.encode(), headers)
        case 4 if sender.raw:
            item = json.dumps({"body": text, "headers": headers, "properties": dice.choice(values)}).encode()
            sender.send_raw(item[: dice.randrange(1, len(item))])
        case _:
            body = json.loads(text)
            body[dice.randrange(3)] = dice.choice(values)
            sender.send(json.dumps(body).encode(), headers)
