"""The same handlers as actors of dramatiq, on Redis or RabbitMQ.

    python -m rigs.bench.rivals.dramatiq_worker prefill EVENTS
    python -m dramatiq rigs.bench.rivals.dramatiq_worker --processes 2 --threads 8

All else is its default: it acknowledges when an actor is done, and retries. On RabbitMQ its sends are confirmed.
"""

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import dramatiq
import psycopg
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker

from rigs.bench.rivals.work import HANDLERS, INSERT, QUEUE, bodies

_URL = os.environ["BENCH_BROKER_URL"]
_here = threading.local()  # each thread keeps a connection: it never waits for one

if _URL.startswith("redis"):
    dramatiq.set_broker(RedisBroker(url=_URL))
else:  # whose library spells the virtual host "/" like this
    dramatiq.set_broker(RabbitmqBroker(url=_URL.removesuffix("//") + "/%2F", confirm_delivery=True))


def _connection() -> psycopg.Connection:
    if not hasattr(_here, "connection"):
        _here.connection = psycopg.connect(os.environ["BENCH_DATABASE_URL"], autocommit=True)
    return _here.connection


def _handler(name: str) -> Callable[..., None]:
    def handle(number: int, **_: Any) -> None:
        _connection().execute(INSERT, (name, number))

    return handle


actors = [dramatiq.actor(_handler(name), actor_name=name, queue_name=QUEUE) for name in HANDLERS]


def prefill(events: int) -> None:
    for body in bodies(events):
        for actor in actors:
            actor.send(**body)


if __name__ == "__main__":
    prefill(int(sys.argv[2]))
