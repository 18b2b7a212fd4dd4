"""The publisher whose rate is measured: small blocks of each way in turn, so that a noisy second hits all alike.

    python -m rigs.bench.rates transactions|calls COUNT

Prints transactions or events a second of each way, as JSON.
"""

import gc
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, insert
from sqlalchemy.orm import Session

from events import get_engine, publish
from rigs.bench.application import Silent, data
from rigs.bench.models import Order

BLOCKS = 20
AT_ONCE = 100

Way = Callable[[int], float]  # does so many, and says how many seconds that took


def alternate(ways: Mapping[str, Way], count: int) -> dict[str, float]:
    """How many a second each way does; the first block of each only warms up."""
    gc.collect()
    gc.freeze()  # to search all that is loaded for garbage takes 50 ms, which would hit one way or another by chance
    size = max(1, count // BLOCKS)
    took = dict.fromkeys(ways, 0.0)
    for block in range(BLOCKS + 1):
        for name, way in ways.items():
            seconds = way(size)
            if block:
                took[name] += seconds
    return {name: size * BLOCKS / seconds for name, seconds in took.items()}


def _timed(action: Callable[[int], None]) -> Way:
    def way(count: int) -> float:
        begun = time.perf_counter()
        for number in range(count):
            action(number)
        return time.perf_counter() - begun

    return way


def transactions(count: int) -> dict[str, float]:
    """A business row, and in its transaction an event or not. Making the event counts, making its values does not."""
    engine = get_engine()
    values = data("Silent")

    def on_connection(connection: Connection, number: int, *, event: bool) -> None:
        with connection.begin():
            connection.execute(insert(Order), {"number": number, "customer": "Duke Leto Atreides"})
            if event:
                publish(Silent(number=number, **values), session=connection)

    def on_session(number: int, *, event: bool) -> None:
        with Session(engine) as session, session.begin():
            session.add(Order(number=number, customer="Duke Leto Atreides"))
            if event:
                publish(Silent(number=number, **values), session=session)

    with engine.connect() as connection:
        ways = {
            "connection baseline": _timed(lambda number: on_connection(connection, number, event=False)),
            "connection ours": _timed(lambda number: on_connection(connection, number, event=True)),
            "session baseline": _timed(lambda number: on_session(number, event=False)),
            "session ours": _timed(lambda number: on_session(number, event=True)),
        }
        return alternate(ways, count)


def calls(count: int) -> dict[str, float]:
    """Events published on their own, durable on return, against their handlers' tasks sent by plain Celery.

    The events, and the tasks' arguments, are made before the clock runs.
    """
    from rigs.bench import plain

    sent = data("Silent")

    def at_once(count: int) -> float:
        batches = [[Silent(number=number) for number in range(AT_ONCE)] for _ in range(max(1, count // AT_ONCE))]
        begun = time.perf_counter()
        for batch in batches:
            publish(batch)
        return (time.perf_counter() - begun) * count / (len(batches) * AT_ONCE)

    def one(count: int) -> float:
        events = [Silent(number=number) for number in range(count)]
        begun = time.perf_counter()
        for event in events:
            publish(event)
        return time.perf_counter() - begun

    def celery(count: int) -> float:
        arguments: list[dict[str, Any]] = [sent | {"number": number} for number in range(count)]
        begun = time.perf_counter()
        for kwargs in arguments:
            for task in plain.tasks["Silent"]:
                task.apply_async(kwargs=kwargs)
        return time.perf_counter() - begun

    return alternate({"at once": at_once, "one": one, "celery": celery}, count)


if __name__ == "__main__":
    way, number = {"transactions": transactions, "calls": calls}[sys.argv[1]], int(sys.argv[2])
    print(json.dumps(way(number)))
