"""A producer: business row and event in one transaction, again and again, and a file of its own that says what it did.

    python -m rigs.chaos.producer FILE RATE SEED

Lines: `intent ID KIND` before, `committed ID KIND TIME` or `rolled-back ID KIND` after. What has only an intent is in
doubt: the process was killed, or the commit failed. With CHAOS_CONTROL=1 it sends plain Celery tasks after the commit.
"""

import os
import random
import sys
import time
from collections.abc import Callable

from sqlalchemy import insert

from events import DomainEvent, get_engine
from rigs.chaos.application import ALSO, ALSO_WEIGHTS, EXPECTED, KINDS, WEIGHTS, ShelfChanged, Tasked
from rigs.chaos.tables import business
from rigs.chaos.transactions import WAYS, OnPurpose, by_tasks, merged

ROLLED_BACK = 0.1  # share of transactions
MERGED = 0.08  # share of transactions that save an aggregate
TASKED = 0.15  # share of the others, that send plain tasks


def main(path: str, rate: float, seed: int) -> None:
    dice = random.Random(seed * 1_000_003 + os.getpid())
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(line: str) -> None:
        os.write(descriptor, f"{line}\n".encode())

    control = os.environ.get("CHAOS_CONTROL") == "1"
    after_commit = _sender() if control else None
    while True:
        time.sleep(dice.expovariate(rate))
        event, kind, transact = _control(dice) if control else _draw(dice)
        note(f"intent {event.event_id} {kind}")
        in_vain: list[DomainEvent] = []
        try:
            transact(dice.random() < ROLLED_BACK, in_vain.append)
        except OnPurpose:
            note(f"rolled-back {event.event_id} {kind}")
            continue
        except Exception as error:
            print(f"in doubt: {kind} {event.event_id}: {str(error).splitlines()[0][:200]}", flush=True)
            time.sleep(0.2)
            continue
        finally:  # whatever became of the rest
            for one in in_vain:
                note(f"intent {one.event_id} {one.event_name}\nrolled-back {one.event_id} {one.event_name}")
        note(f"committed {event.event_id} {kind} {time.time()}")
        if after_commit is not None:
            after_commit(event, kind)


Transact = Callable[[bool, Callable[[DomainEvent], None]], None]


def _draw(dice: random.Random) -> tuple[DomainEvent, str, Transact]:
    if dice.random() < MERGED:
        shelved = ShelfChanged()
        return shelved, "ShelfChanged", lambda rolls_back, in_vain: merged(shelved, rolls_back, in_vain)
    if dice.random() < TASKED:
        tasked = Tasked()
        return tasked, "Tasked", lambda rolls_back, in_vain: by_tasks(tasked, rolls_back, in_vain)
    weights = WEIGHTS | ALSO_WEIGHTS
    kind = dice.choices(list(weights), list(weights.values()))[0]
    event, way = (KINDS | ALSO)[kind](), dice.choice(WAYS)
    return event, kind, lambda rolls_back, in_vain: way(event, kind, rolls_back, in_vain)


def _control(dice: random.Random) -> tuple[DomainEvent, str, Transact]:
    kind = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    event = KINDS[kind]()

    def transact(rolls_back: bool, _: Callable[[DomainEvent], None]) -> None:
        with get_engine().begin() as connection:
            connection.execute(insert(business).values(event_id=str(event.event_id), kind=kind))
            if rolls_back:
                raise OnPurpose

    return event, kind, transact


def _sender() -> Callable[[DomainEvent, str], None]:
    from rigs.chaos.control import tasks

    def send(event: DomainEvent, kind: str) -> None:
        for handler in EXPECTED[kind]:
            try:
                tasks[handler].apply_async((str(event.event_id),))
            except Exception as error:
                print(f"not sent: {handler} {event.event_id}: {str(error).splitlines()[:1]}", flush=True)

    return send


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
