"""Services that speak over a bridge: each has a ledger of its own, and receives in this process or in another."""

import json
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, select

import shop
from events import bridges
from events.bridges.address import Address
from events.bridges.cloudevents import outgoing
from events.bridges.contract import Bridge, Publisher, Subscriber
from events.bridges.receiving import Receiver
from events.errors import TransportError
from events.event import DomainEvent
from events.ledger.envelope import Envelope
from events.ledger.history import EventFilter
from events.ledger.identity import SENT_AS, as_uuid
from events.pipeline import Pipeline
from events.settings.settings import Settings
from events.store.tables import event_store
from rigs.chaos.machines import Machine
from support.kafka_mock import Mock
from support.system import TESTS, Process
from support.waiting import eventually

FAST = "redeliver=1s"
BothEnds = Callable[["Link"], tuple[Publisher, Subscriber]]


class Link:
    """A bridge under test: its server, and addresses that nobody else uses."""

    def __init__(self, scheme: str, server: str, accept: str = "*") -> None:
        host = server.partition("://")[2]
        self.scheme, self.timeout = scheme, "2s"
        self.prefix = f"test-{uuid4().hex[:8]}"
        common = f"prefix={self.prefix}&name=link&accept={accept}&{FAST}"
        self.url = f"{scheme}://{host}{'&' if '?' in host else '?'}{common}"
        if "jetstream" in scheme:
            self.url += f"&stream={self.prefix}"
        if "kafka" in scheme:
            self.url += "&session.timeout.ms=2500"  # librdkafka's own waits nearly so long for members to come back
        if "rabbitmq" in scheme:
            self.url += f"&exchange={self.prefix}"

    def with_server(self, url: str) -> "Link":
        """The same addresses, on another server."""
        other = Link(self.scheme, url)
        other.url, other.prefix = other.url.replace(other.prefix, self.prefix), self.prefix
        return other

    def opened(self, more: str = "") -> tuple[Address, Bridge]:
        return bridges.open_bridge(self.url + more, Settings(broker_url="", broker_timeout=self.timeout))


class Service:
    """One side: a ledger in a file."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.folder = name, folder
        self.database = f"sqlite:///{folder / name}.db"
        self.pipeline = Pipeline(Settings(database_url=self.database, broker_url=""))
        self.pipeline.migrate()
        self.processes: list[Process] = []

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def receiver(self, link: Link, more: str = "") -> Receiver:
        return self.pipeline.receiver(*link.opened(f"&group={self.name}{more}"), self.name)

    def start(self, link: Link) -> Process:
        """`events bridge`, in a process of its own, when it is ready."""
        environment = {
            "PATH": os.environ["PATH"], "EVENTS_DATABASE_URL": self.database, "EVENTS_HANDLERS": "shop",
            "PYTHONPATH": str(TESTS / "support" / "application"), "EVENTS_BROKER_TIMEOUT": "2s",
        }  # fmt: skip
        arguments = ["events", "bridge", f"{link.url}&group={self.name}"]
        process = Process(arguments, environment, self.folder / f"{self.name}-{len(self.processes)}.log")
        self.processes.append(process)
        process.wait_for("Ctrl-C stops it")
        return process

    def stored(self) -> list[UUID]:
        """The ids that its events have where they came from, in the order in which they were stored."""
        return list(self.rows())

    def count(self) -> int:
        with self.pipeline.ledger.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(event_store)) or 0

    def rows(self) -> dict[UUID, Any]:
        """By the ids that they have where they came from, if they came from elsewhere."""
        in_order = select(event_store).order_by(event_store.c.created_at, event_store.c.id)
        with self.pipeline.ledger.engine.connect() as connection:
            return {_sent_as(row): row for row in connection.execute(in_order)}

    def called(self, sent_as: UUID) -> list[Envelope]:
        """Its events that have this id where they came from."""
        found = self.pipeline.history.find(EventFilter(sender_id=str(sent_as)))
        with self.pipeline.ledger.engine.connect() as connection:
            return list(self.pipeline.ledger.events.stored(connection, [one.event_id for one in found]).values())

    def close(self) -> None:
        for process in filter(Process.alive, self.processes):
            process.kill()
        self.pipeline.close()


def _sent_as(row: Any) -> UUID:
    told = json.loads(row.metadata).get(SENT_AS, "")
    return as_uuid(told) or row.id


class AtWork:
    """A receiver in a thread of its own, for bridges whose senders wait for it. Stepping it is not needed."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> "AtWork":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._receiver.stop()
        self._receiver.run()  # which closes its subscriber

    def step(self, wait: float) -> int:
        return 0

    def _work(self) -> None:
        while not self._ended.is_set():
            self._receiver.step(0.05)


def will_remember(server: Machine | Mock, link: Link) -> bool:
    """Whether what was made on it outlives a kill: RabbitMQ notes a new quorum queue half a second late."""
    if isinstance(server, Mock) or server.name != "rabbitmq":
        return True
    names = [path.read_bytes() for path in server.folder.glob("*/quorum/*/names.dets")]
    return any(link.prefix.encode() in text for text in names)


def send(publisher: Publisher, events: Sequence[DomainEvent], *, form: str = "flat", sealed: bool = False) -> None:
    """As the handler of a bridge does."""
    publisher.send([outgoing(event, "/test", form=form, sealed=sealed) for event in events])


def insist(publisher: Publisher, events: Sequence[DomainEvent]) -> None:
    """As the ledger does: again, until it has worked."""

    def sent() -> bool:
        try:
            send(publisher, events)
        except TransportError:
            return False
        return True

    eventually(sent, "the events were sent")


def placed(count: int, order: str = "o-1") -> list[shop.OrderPlaced]:
    """Events of one aggregate, in order."""
    return [shop.OrderPlaced(order=order, amount=number) for number in range(count)]


def received(receiver: Receiver | AtWork, service: Service, count: int) -> None:
    """Take in batches until so many events are stored."""

    def done() -> bool:
        with suppress(TransportError):  # a receiver that was starved of time has lost its line, and goes on
            receiver.step(0.05)
        return len(service.stored()) >= count

    eventually(done, f"{count} events are in the ledger of {service.name}")
