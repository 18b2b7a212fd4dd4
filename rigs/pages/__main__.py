"""Fills a ledger on PostgreSQL with millions of deliveries, starts Flower on it, and asks it for every page."""

import argparse
import base64
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:1] = [str(ROOT), str(ROOT / "tests")]  # instead of this folder

from support.private_servers import free_port  # noqa: E402

LIMIT = 300  # ms
LOGIN = {"Authorization": "Basic " + base64.b64encode(b"measure:it").decode()}


def pages(event_id: str, group: str) -> list[str]:
    return [
        "/events",
        "/events?event=OrderPlaced",
        "/events?event=Refunded",
        "/events?event=NeverSeen",
        "/events?aggregate=order-17",
        "/events?since=2h",
        "/events?before=3d",
        f"/events/{event_id}",
        "/dead-letters",
        f"/dead-letters?group={group}",
        "/dead-letters?handler=book_orderplaced",
        "/dead-letters?event=OrderPaid",
        "/dead-letters?event=NeverSeen",
        "/dead-letters?aggregate=order-17",
        "/dead-letters?error=warehouse+3",
        "/dead-letters?error=nothing+like+it",
        "/dead-letters?since=1h",
        "/dead-letters?before=3d",
        "/dead-letters/replay",
        f"/dead-letters/replay?group={group}",
        "/event-handlers",
    ]


def fill(url: str, events: int) -> None:
    environment = os.environ | {"EVENTS_DATABASE_URL": url, "EVENTS_BROKER_URL": ""}
    subprocess.run([sys.executable, "-m", "events", "migrate"], env=environment, check=True)
    script = Path(__file__).with_name("fill.sql")
    begun = time.monotonic()
    subprocess.run(["psql", "-q", "-v", f"events={events}", "-f", script, url], check=True)
    print(f"filled in {time.monotonic() - begun:.0f} s")


@contextmanager
def flower(url: str) -> Iterator[int]:
    port = free_port()
    environment = os.environ | {
        "EVENTS_DATABASE_URL": url,
        "EVENTS_BROKER_URL": os.environ["EVENTS_TEST_REDIS_URL"],
        "EVENTS_HANDLERS": "handlers",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "celery", "-A", "events", "flower", f"--port={port}", "--address=127.0.0.1",
               "--basic-auth=measure:it"]  # fmt: skip
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            yield port
        finally:
            process.kill()
            process.wait()


def ask(port: int, path: str) -> tuple[int, float]:
    """The status, and how long it took, in ms."""
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    begun = time.perf_counter()
    connection.request("GET", path, headers=LOGIN)
    answer = connection.getresponse()
    answer.read()
    took = (time.perf_counter() - begun) * 1000
    connection.close()
    return answer.status, took


def first_answer(port: int) -> float:
    """The first page of a Flower that has just started, while it counts."""
    while True:
        with suppress(OSError):
            return ask(port, "/events")[1]
        time.sleep(0.05)


def a_dead_one(url: str) -> tuple[str, str]:
    """An event with a dead letter, and a group."""
    from events.ledger import DeadLetterFilter
    from events.pipeline import Pipeline
    from events.settings import Settings

    pipeline = Pipeline(Settings(database_url=url, broker_url=""))
    letter, group = pipeline.dead_letters.find(DeadLetterFilter(limit=1))[0], pipeline.dead_letters.groups()[0]
    pipeline.close()
    return str(letter.event_id), group.key


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/pages", description=__doc__)
    parser.add_argument("--events", type=int, default=2_500_000, help="two deliveries each; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=20, help="requests of each page; default: %(default)s")
    parser.add_argument("--database-url", help="a ledger that has been filled before; default: a new one")
    options = parser.parse_args()
    url = options.database_url or os.environ["EVENTS_TEST_POSTGRES_URL"]
    if not options.database_url:
        fill(url, options.events)
    event_id, group = a_dead_one(url)
    slow = 0
    with flower(url) as port:
        print(f"{'/events, just started':<50} {first_answer(port):>7.0f} ms")
        print(f"{'ms':<50} {'first':>7} {'second':>7} {'median':>7} {'longest':>7}")
        for path in pages(event_id, group):
            seen = [ask(port, path) for _ in range(options.rounds)]
            assert {status for status, _ in seen} == {200}, (path, seen)
            times = [took for _, took in seen]
            slow += max(times) > LIMIT
            shown = path.replace(event_id, "<id>").replace(group, "<group>")
            figures = times[0], times[1], statistics.median(times), max(times)
            print(f"{shown:<50} " + " ".join(f"{figure:>7.0f}" for figure in figures))
    print(f"{slow} pages took longer than {LIMIT} ms" if slow else f"every page, every time, within {LIMIT} ms")
    return int(slow > 0)


if __name__ == "__main__":
    sys.exit(main())
