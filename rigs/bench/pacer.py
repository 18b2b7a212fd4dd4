"""A publisher that keeps to a pace, and says when each transaction was committed.

    python -m rigs.bench.pacer RATE SECONDS [KIND]

Prints the time of each commit, in the order of the events' numbers, as JSON.
"""

import json
import sys
import time

from sqlalchemy import insert

from events import get_engine, publish
from rigs.bench.application import EVENTS
from rigs.bench.models import Order


def main(rate: float, seconds: float, kind: str = "Timed") -> list[float]:
    committed = []
    with get_engine().connect() as connection:
        begun = time.monotonic()
        for number in range(int(rate * seconds)):
            time.sleep(max(0.0, begun + number / rate - time.monotonic()))
            with connection.begin():
                connection.execute(insert(Order), {"number": number, "customer": "Duke Leto Atreides"})
                publish(EVENTS[kind](number=number), session=connection)
            committed.append(time.time())
    return committed


if __name__ == "__main__":
    print(json.dumps(main(float(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:])))
