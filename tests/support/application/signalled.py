"""Handlers, each with an event and a queue of its own: so that workers on one ledger don't take each other's work."""

import os
import time
from pathlib import Path

from sqlalchemy import Connection, insert

import shop
from events import Delivery, DomainEvent, Retry, handles, seconds

MANY = 10
queues = [f"signalled-{number}" for number in range(MANY)]


class Job(DomainEvent):
    """`release`: the handler waits for that file. `first`: it writes before it waits."""

    release: str = ""
    first: bool = False


kinds = [type(f"Job{number}", (Job,), {"__module__": __name__}) for number in range(MANY)]


def _handler(number: int) -> None:
    def work(event: Job, connection: Connection, delivery: Delivery) -> None:
        effect = insert(shop.effects).values(event_id=str(event.event_id), handler=delivery.handler, note="")
        if event.first:
            connection.execute(effect)
        if event.release:
            with Path(os.environ["SHOP_STARTS"]).open("a") as file:
                file.write(f"{delivery.event_id} {delivery.handler} {delivery.attempt} {os.getpid()}\n")
            while not Path(event.release).exists():
                time.sleep(0.02)
        if not event.first:
            connection.execute(effect)

    work.__name__ = work.__qualname__ = f"work_{number}"
    work.__annotations__["event"] = kinds[number]
    retry = Retry(max_attempts=2, backoff=seconds(0.05), jitter=0)
    handles(kinds[number], retry=retry, queue=queues[number], time_limit=seconds(900))(work)


for each in range(MANY):
    _handler(each)
