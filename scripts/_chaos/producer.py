"""A producer: business row and event in one transaction, again and again, and a file of its own that says what it did.

    python -m _chaos.producer FILE RATE SEED

Lines: `intent ID KIND` before, `committed ID KIND TIME` or `rolled-back ID KIND` after. What has only an intent is in
doubt: the process was killed, or the commit failed. With CHAOS_CONTROL=1 it sends plain Celery tasks after the commit.
"""

import os
import random
import sys
import time
from collections.abc import Callable

from sqlalchemy import insert

from _chaos.application import EXPECTED, KINDS, WEIGHTS, business
from events import DomainEvent, get_engine, publish

ROLLED_BACK = 0.1  # share of transactions


class _OnPurpose(Exception):
    pass


def main(path: str, rate: float, seed: int) -> None:
    dice = random.Random(seed * 1_000_003 + os.getpid())
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(line: str) -> None:
        os.write(descriptor, f"{line}\n".encode())

    after_commit = _sender() if os.environ.get("CHAOS_CONTROL") == "1" else None
    while True:
        time.sleep(dice.expovariate(rate))
        kind = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        event = KINDS[kind]()
        note(f"intent {event.event_id} {kind}")
        try:
            _transact(event, kind, dice.random() < ROLLED_BACK, with_event=after_commit is None)
        except _OnPurpose:
            note(f"rolled-back {event.event_id} {kind}")
            continue
        except Exception as error:
            print(f"in doubt: {kind} {event.event_id}: {str(error).splitlines()[0][:200]}", flush=True)
            time.sleep(0.2)
            continue
        note(f"committed {event.event_id} {kind} {time.time()}")
        if after_commit is not None:
            after_commit(event, kind)


def _transact(event: DomainEvent, kind: str, rolls_back: bool, *, with_event: bool) -> None:
    with get_engine().begin() as connection:
        connection.execute(insert(business).values(event_id=str(event.event_id), kind=kind))
        if with_event:
            publish(event, session=connection)
        if rolls_back:
            raise _OnPurpose


def _sender() -> Callable[[DomainEvent, str], None]:
    from _chaos.control import tasks

    def send(event: DomainEvent, kind: str) -> None:
        for handler in EXPECTED[kind]:
            try:
                tasks[handler].apply_async((str(event.event_id),))
            except Exception as error:
                print(f"not sent: {handler} {event.event_id}: {str(error).splitlines()[:1]}", flush=True)

    return send


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
