"""A Redis that takes connections and refuses what is asked: workers stay whole, and take work again afterwards."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import kombu
import pytest
import redis

import shop
from events import publish
from events.watchdog import HUNG
from rigs.chaos.machines import Machine
from support.servers import own_server
from support.size import alike
from support.system import System
from support.waiting import eventually

FAULTS = {  # what is said to Redis, and how it is taken back
    "read-only": ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    "full": ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    "another password": ("CONFIG SET requirepass secret", "CONFIG SET requirepass -"),
    "no rights": ("ACL SETUSER default -@write", "ACL SETUSER default +@all"),
}
ROUNDS = 3


@pytest.fixture
def machine() -> Iterator[Machine]:
    with own_server("redis") as machine:
        yield machine


def say(machine: Machine, command: str, password: str | None = None) -> None:
    """To Redis; and whoever is connected has to connect again."""
    with redis.Redis(port=machine.port, password=password) as client:
        client.execute_command(*("" if word == "-" else word for word in command.split()))
    with redis.Redis(port=machine.port, password="secret" if command.endswith("secret") else None) as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal")


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.parametrize("fault", ["full", "another password", alike("no rights"), alike("read-only")])
def test_workers_outlive_it_with_all_their_slots_and_no_more_descriptors(
    fault: str, machine: Machine, tmp_path: Path
) -> None:
    wrong, right = FAULTS[fault]
    with System("redis", tmp_path, broker_url=machine.url).in_use() as system:
        # Given two workers at work
        workers = [system.start_worker("threads") for _ in range(2)]
        for number in range(1, 4):  # until each has the connections that it ever needs
            publish([shop.AsyncWork() for _ in range(40)])
            system.settled(40 * number)
        before = [descriptors(worker.pid) for worker in workers]
        # When Redis refuses, again and again, while they have work
        for number in range(ROUNDS):
            publish([shop.AsyncWork() for _ in range(20)])
            complaints = [_complaints(worker.log) for worker in workers]
            say(machine, wrong)
            eventually(
                lambda was=complaints: all(
                    _complaints(one.log) >= had + 2 for one, had in zip(workers, was, strict=True)
                ),
                "each worker has met it",
            )
            say(machine, right, "secret" if "password" in fault else None)
            system.settled(140 + 20 * number)
        # Then each of them lives, takes work, and has no more open than before
        ran: set[str] = set()

        def both_ran() -> bool:
            publish(events := [shop.AsyncWork() for _ in range(40)])
            system.settled(40, *(event.event_id for event in events))
            rows = system.deliveries(*(event.event_id for event in events))
            ran.update(row.worker.rsplit(".", 1)[-1] for row in rows)
            return ran == {str(worker.pid) for worker in workers}

        eventually(both_ran, "each of them has taken some")
        assert all(worker.alive() for worker in workers)
        eventually(
            lambda: all(descriptors(one.pid) <= had + 5 for one, had in zip(workers, before, strict=True)),
            "they have no more open than before",
        )


def _complaints(log: Path) -> int:
    text = log.read_text()
    return sum(text.count(words) for words in ("lost the broker", "an't reach", "didn't take"))


@pytest.mark.parametrize("command", ["ack", "reject", "requeue"])
def test_what_cannot_be_acknowledged_has_no_place_in_the_hand_any_more(machine: Machine, command: str) -> None:
    # Given a consumer that takes one message at a time, and has one
    with kombu.Connection(machine.url, transport="events.transport.redis:Transport") as connection:
        channel = connection.channel()
        queue = kombu.Queue(f"q-{uuid4()}").bind(channel)
        queue.declare()
        kombu.Producer(channel).publish("hello", routing_key=queue.name)
        channel.basic_qos(0, 1, False)
        message = queue.get()
        assert not channel.qos.can_consume()
        # When Redis refuses that it is given back
        with redis.Redis(port=machine.port) as client:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
            with pytest.raises(redis.exceptions.ResponseError):
                {"ack": message.ack, "reject": message.reject, "requeue": message.requeue}[command]()
            # Then there is room for the next all the same
            assert channel.qos.can_consume()
            client.execute_command("REPLICAOF", "NO", "ONE")


DEAF = """
from pathlib import Path
from events.transport.redis import Channel
start = Channel._brpop_start
def deaf(self, timeout=None):
    if not Path({flag!r}).exists():
        start(self, timeout)
Channel._brpop_start = deaf
import shop
"""


def test_a_worker_that_no_longer_asks_for_work_ends_though_others_empty_the_queue(
    machine: Machine, tmp_path: Path
) -> None:
    # Given a worker that connects, and asks for nothing any more; and another, so that no message ever waits
    (tmp_path / "deaf.py").write_text(DEAF.format(flag=str(tmp_path / "deaf")))
    with System("redis", tmp_path, broker_url=machine.url, broker_timeout="1s").in_use() as system:
        system.environment["PYTHONPATH"] += f":{tmp_path}"
        worker, other = system.start_worker(handlers="deaf", watchdog="3s"), system.start_worker()
        publish([shop.AsyncWork() for _ in range(20)])
        system.settled(20)
        (tmp_path / "deaf").touch()
        # When it is so for longer than the watchdog waits
        # Then it ends, to be started again, and says why
        assert worker.exit_code() == HUNG
        assert "asking Redis for work" in worker.log.read_text()
        assert other.alive()
