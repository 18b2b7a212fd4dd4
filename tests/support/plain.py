"""A Celery app with an outbox in this process, and what its tasks have come to."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

import kombu
from celery import Celery
from kombu import Queue

from events import outbox
from events.testing import InlinePipeline


class Shop:
    """Tasks that note what they were given; `broker` is a URL, or "" for an app without a broker."""

    def __init__(self, broker: str, *, has_outbox: bool = True, **options: Any) -> None:
        self.name = f"shop-{uuid4().hex[:12]}"
        self.app = app = Celery(self.name, broker=broker or None, set_as_current=False)
        app.conf.task_default_queue = self.name
        app.conf.task_queues = [Queue(self.name)]
        app.conf.result_backend = "cache+memory://"
        app.conf.result_expires = None
        self.broker = broker
        self.ran: list[Any] = []

        @app.task(name="ship", shared=False)
        def ship(what: Any, **_: Any) -> Any:
            self.ran.append(what)
            return what

        @app.task(name="total", shared=False)
        def total(parts: list[Any]) -> int:
            self.ran.append(f"total of {len(parts)}")
            return len(parts)

        self.ship, self.total = ship, total
        if has_outbox:
            outbox(app, **options)

    def waiting(self) -> list[kombu.Message]:
        """The messages in the broker, taken out of it, oldest first."""
        found = []
        with kombu.Connection(self.broker) as connection, connection.channel() as channel:
            queue = Queue(self.name).bind(channel)
            queue.declare()
            while message := queue.get(no_ack=True, accept=["json", "pickle"]):
                found.append(message)
        return found

    def sent(self) -> list[Any]:
        """The first arguments of the tasks in the broker, which are taken out of it."""
        return [message.decode()[0][0] for message in self.waiting()]

    def come_to(self, pipeline: InlinePipeline) -> Counter[Any]:
        """Relay and deliver; what was sent, or done where there is no broker, and how often."""
        pipeline.run()
        return Counter(self.sent() if self.broker else self.ran)

    def close(self) -> None:
        if self.broker:
            with suppress(Exception), kombu.Connection(self.broker) as connection, connection.channel() as channel:
                channel.queue_delete(self.name)
        self.app.close()


@contextmanager
def shop_of(broker: str = "memory://", **options: Any) -> Iterator[Shop]:
    shop = Shop(broker, **options)
    try:
        yield shop
    finally:
        shop.close()
