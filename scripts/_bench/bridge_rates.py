"""How many events a second the bridges to RabbitMQ and Kafka send, beside the table of scripts/bench.

    python scripts/servers.py --only rabbitmq -- .venv/bin/python scripts/_bench/bridge_rates.py

RabbitMQ has a quorum queue bound and confirms every event; Kafka is librdkafka's own in memory, in this process, unless
EVENTS_TEST_KAFKA_URL says where one is.
"""

import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

_ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(_ROOT / folder) for folder in ("scripts", "tests", "tests/support/application")]

import shop  # noqa: E402
from events import bridges  # noqa: E402
from events.bridging import AT_ONCE  # noqa: E402
from events.settings import Settings  # noqa: E402
from events.wire import outgoing  # noqa: E402
from support.kafka import Mock  # noqa: E402


def rate(url: str, count: int) -> float:
    """From objects in memory to the server's answer, batches of AT_ONCE, one thread."""
    _, bridge = bridges.open_bridge(url, Settings(broker_url=""))
    subscriber = bridge.subscriber(lambda: ["OrderPlaced"])
    subscriber.receive(0.1)  # there is somebody whom it is for
    subscriber.close()
    messages = [outgoing(shop.OrderPlaced(order=f"o-{number}"), "/bench") for number in range(count)]
    publisher = bridge.publisher()
    publisher.send(messages[:AT_ONCE])
    begun = time.perf_counter()
    for start in range(0, count, AT_ONCE):
        publisher.send(messages[start : start + AT_ONCE])
    took = time.perf_counter() - begun
    publisher.close()
    return count / took


def main() -> None:
    with ExitStack() as stack:
        urls = {"kafka": os.environ.get("EVENTS_TEST_KAFKA_URL") or stack.enter_context(Mock()).url}
        if server := os.environ.get("EVENTS_TEST_AMQP_URL"):
            urls["rabbitmq"] = server.replace("amqp", "rabbitmq+topic", 1)
        for name, url in urls.items():
            print(f"{name}: {', '.join(f'{rate(url, 20_000):,.0f}' for _ in range(3))} events/s")


if __name__ == "__main__":
    main()
