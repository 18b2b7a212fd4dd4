"""Sends plain tasks, in transactions of 100 tasks with an outbox, and as they come without one.

python -m rigs.bench.delaying rate COUNT    prints tasks a second, until they are committed or sent, of both in turn
python -m rigs.bench.delaying send COUNT    sends them, with an outbox if there is one; prints when it began
"""

import json
import sys
import time

from sqlalchemy.orm import Session

import events
from events import get_engine
from rigs.bench.outboxed import app, silent
from rigs.bench.rates import AT_ONCE, alternate

_CUSTOMER = "Duke Leto Atreides"


def plain(count: int) -> float:
    begun = time.perf_counter()
    for number in range(count):
        silent.delay(number, _CUSTOMER)
    return time.perf_counter() - begun


def in_transactions(count: int) -> float:
    begun = time.perf_counter()
    for start in range(0, count, AT_ONCE):
        with Session(get_engine()) as session, session.begin():
            for number in range(start, min(start + AT_ONCE, count)):
                silent.delay(number, _CUSTOMER)
    return time.perf_counter() - begun


def rate(count: int) -> dict[str, float]:
    events.outbox(app)  # outside of a transaction it changes nothing
    found = alternate({"ours": in_transactions, "plain": plain}, count)
    with app.connection_for_write() as connection:  # what was sent is nobody's
        connection.default_channel.queue_purge(app.conf.task_default_queue)
    return found


def send(count: int) -> float:
    begun = time.time()
    if "send_task" in vars(app):  # it has an outbox
        in_transactions(count)
    else:
        plain(count)
    return begun


if __name__ == "__main__":
    print(json.dumps({"rate": rate, "send": send}[sys.argv[1]](int(sys.argv[2]))))
