"""A queue that takes nothing more: what it refuses waits in the ledger, and no delivery is to blame."""

import subprocess
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import redis

import shop
from events import publish
from events.errors import NotTaken, TransportError, Unsendable
from events.ledger.records import Failure, Group, Subscription, Wakeup
from events.relay.sending import Sending
from rigs.chaos.machines import Machine
from support.system import System
from support.waiting import eventually


def rabbitmqctl(machine: Machine, *arguments: str) -> None:
    """By the server's own environment, in which are its name and its cookie."""
    process = machine._process
    assert process is not None
    lines = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    environment = dict(line.decode().split("=", 1) for line in lines if b"=" in line)
    ports = {"ERL_EPMD_PORT": environment["PORT3"], "RABBITMQ_NODENAME": f"events-{machine.port}@localhost"}
    script = 'export RABBITMQ_CONF_ENV_FILE="$PWD/env.conf"; exec rabbitmqctl "$@"'
    status = machine.folder.stat()
    subprocess.run(
        ["sh", "-c", script, "rabbitmqctl", *arguments], env=environment | ports, cwd=machine.folder, check=True,
        capture_output=True, user=status.st_uid, group=status.st_gid, extra_groups=[],
    )  # fmt: skip


def fill(machine: Machine, queue: str) -> None:
    if machine.name == "rabbitmq":
        rabbitmqctl(machine, "set_policy", "full", ".*", '{"max-length": 20, "overflow": "reject-publish"}')
    else:
        redis.Redis(port=machine.port).config_set("maxmemory", 1)


def make_room(machine: Machine) -> None:
    if machine.name == "rabbitmq":
        rabbitmqctl(machine, "clear_policy", "full")
    else:
        redis.Redis(port=machine.port).config_set("maxmemory", 0)


def test_no_delivery_is_blamed_for_a_full_queue(broker: Machine, tmp_path: Path) -> None:
    with System(broker.name, tmp_path, broker_url=broker.url).in_use() as system:
        # Given a queue with room for few, and a relay
        queue = system.environment["EVENTS_QUEUE"]
        system.pipeline.ledger.subscriptions.subscribe(
            [Subscription(event_type="AsyncWork", handler="works_async", queue=queue, max_attempts=1)]
        )
        relay = system.start(["events", "relay"])
        publish(shop.AsyncWork())
        eventually(lambda: system.states()["sent"] == 1, "the relay has made the queue")
        fill(broker, queue)
        # When many more events are published
        publish([shop.AsyncWork() for _ in range(299)])
        eventually(lambda: f"queue {queue} didn't take" in relay.log.read_text(), "the relay says which queue refuses")
        eventually(lambda: relay.log.read_text().count("didn't take") > 1, "it has been tried again and again")
        # Then nothing is dead, nor has used an attempt; and when workers come and there is room, all of it is done
        assert system.states()["dead"] == 0
        make_room(broker)
        system.start_worker()
        assert system.settled(300) == {"succeeded": 300}
        assert {one.attempts - one.attempts_before for one in system.deliveries()} == {1}


class Ledger:
    """What Sending asks of an outbox."""

    def __init__(self) -> None:
        self.back: list[tuple[Wakeup, timedelta]] = []
        self.given_up: list[Wakeup] = []

    def hand_back(self, wakeups: Sequence[Wakeup], delay: timedelta) -> int:
        self.back += [(wakeup, delay) for wakeup in wakeups]
        return len(wakeups)

    def give_up(self, wakeup: Wakeup, _: Failure) -> bool:
        self.given_up.append(wakeup)
        return True


class Broker:
    def __init__(self, answer: Callable[[Sequence[Group]], object]) -> None:
        self.answer = answer

    def send(self, groups: Sequence[Group]) -> None:
        self.answer(groups)

    def waiting(self, queue: str) -> int:
        raise TransportError(f"no answer about {queue}")


def groups(queue: str, count: int) -> list[Group]:
    return [(Wakeup(uuid4(), "h", queue, 1),) for _ in range(count)]


@pytest.mark.parametrize("partly", [True, False])
def test_what_a_queue_refuses_waits_longer_each_time_and_is_never_given_up(*, partly: bool) -> None:
    # Given a broker that refuses half of one queue, or says only that something went wrong
    def answer(given: Sequence[Group]) -> None:
        full = [group for group in given if group[0].queue == "full"]
        if full and partly:
            raise NotTaken({group: TransportError("full") for group in full})
        if full:
            raise TransportError("no answer")

    ledger = Ledger()
    sending = Sending(ledger, Broker(answer))  # type: ignore[arg-type]
    # When it is tried many times
    pauses = []
    for _ in range(8):
        before = len(ledger.back)
        refused, well = groups("full", 3), groups("other", 2)
        assert list(sending.send(refused)) == []
        assert list(sending.send(well)) == well
        assert [wakeup for wakeup, _ in ledger.back[before:]] == [group[0] for group in refused]
        pauses.append(ledger.back[-1][1])
    # Then it waits longer and longer, within bounds, and only that queue rests
    assert pauses == sorted(pauses)
    assert pauses[0] < timedelta(seconds=1) < pauses[-1] < timedelta(seconds=20)
    assert sending.resting() == {"full"}
    assert ledger.given_up == []


def test_only_what_can_never_be_sent_is_given_up() -> None:
    bad, good = groups("q", 1), groups("q", 3)

    def answer(given: Sequence[Group]) -> None:
        raise NotTaken({group: Unsendable("too long") for group in given if group in bad})

    ledger = Ledger()
    sending = Sending(ledger, Broker(answer))  # type: ignore[arg-type]
    assert list(sending.send(bad + good)) == good
    assert ledger.given_up == [bad[0][0]]
    assert not ledger.back
    assert not sending.resting()


def test_what_is_in_the_way_of_the_others_is_found_and_waits_alone() -> None:
    # Given a broker that takes nothing of a batch with one message in it, and says not why
    odd, well = groups("q", 1), groups("q", 20)

    def answer(given: Sequence[Group]) -> None:
        if odd[0] in given:
            raise TransportError("something is wrong")

    ledger, broker = Ledger(), Broker(answer)
    broker.waiting = lambda _: 0  # type: ignore[method-assign]
    sending = Sending(ledger, broker)  # type: ignore[arg-type]
    # When it is sent with the others, again and again
    for _ in range(5):
        assert list(sending.send(well[:10] + odd + well[10:])) == well
    # Then they leave, the queue has no rest for it, and it isn't given up
    assert [wakeup for wakeup, _ in ledger.back] == [odd[0][0]] * 5
    assert not sending.resting()
    assert ledger.given_up == []
