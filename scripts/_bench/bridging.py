"""How many events a second a bridge sends, in batches as its handler does: `python scripts/_bench/bridging.py URL`.

With scripts/servers.py: see docs/bridges. `mock` in the place of a Kafka URL is librdkafka's own cluster in memory.
"""

import sys
import time
from pathlib import Path

sys.path += [str(Path(__file__).parents[2] / folder) for folder in ("tests", "tests/support/application")]

import shop
from events import bridges
from events.bridging import AT_ONCE
from events.settings import Settings
from events.wire import outgoing


def measure(url: str, count: int = 20_000) -> float:
    """Events a second."""
    _, bridge = bridges.open_bridge(url, Settings(broker_url=""))
    messages = [outgoing(shop.OrderPlaced(order=f"o-{number}"), "/bench") for number in range(count)]
    publisher = bridge.publisher()
    publisher.send(messages[:AT_ONCE])
    begun = time.perf_counter()
    for start in range(0, count, AT_ONCE):
        publisher.send(messages[start : start + AT_ONCE])
    took = time.perf_counter() - begun
    publisher.close()
    return count / took


def main(url: str) -> None:
    if url == "mock":
        from support.kafka import Mock

        with Mock() as cluster:
            print(f"kafka (mock): {measure(cluster.url):,.0f} events/s")
        return
    print(f"{url.partition('://')[0]}: {measure(url):,.0f} events/s")


if __name__ == "__main__":
    main(sys.argv[1])
