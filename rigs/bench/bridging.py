"""Target 11: how fast bridges forward. What a bridge itself does, and a worker with one that works off a backlog."""

import importlib.util
import re
from collections.abc import Iterator
from functools import partial

from events.bridges import open_bridge
from events.settings import Settings
from rigs.bench.bed import Bed
from rigs.bench.draining import rate
from rigs.bench.figures import Compare, Failed, Goal, Measurement, NotMeasured
from rigs.bench.listening import listened_to
from rigs.bench.options import Options
from rigs.bench.rig import Rig

BRIDGES = {  # name to scheme, to the server that it needs, and to the events a second that it has to send
    "Redis Streams": ("redis+streams", "redis", 5000),
    "Redis Pub/Sub": ("redis+pubsub", "redis", 5000),
    "NATS JetStream": ("nats+jetstream", "nats", 5000),
    "NATS core": ("nats", "nats", 5000),
    "RabbitMQ, confirmed": ("rabbitmq+topic", "rabbitmq", 2000),
    "Kafka, in memory": ("kafka", "kafka", 2000),
}
_DONE = "SELECT extract(epoch FROM finished_at) FROM event_deliveries WHERE state = 'succeeded' ORDER BY finished_at"
_COUNT = "SELECT count(*) FROM event_deliveries WHERE state = 'succeeded'"


def measurements(rig: Rig, options: Options) -> Iterator[Measurement]:
    for name, (scheme, server, least) in BRIDGES.items():
        events = options.sized(30_000, 1000)
        yield Measurement(11, f"{name}, the bridge alone", {"ours": partial(send, rig, scheme, server, events)}, [
            Goal(f"{name}: the bridge alone, batches of 100", "events/s", compare=Compare.VALUE, at_least=least),
        ])  # fmt: skip
        yield Measurement(11, f"{name}, a worker's backlog", {"ours": partial(forward, rig, scheme, server, events)}, [
            Goal(f"{name}: a worker forwards its backlog", "events/s", compare=Compare.VALUE),
        ])  # fmt: skip


def send(rig: Rig, scheme: str, server: str, events: int) -> float:
    """Events a second, from objects in memory to the server's answer; one thread."""
    with rig.bed() as bed:
        return float(bed.figures("-m", "rigs.bench.sending", _url(rig, scheme, server), str(events)))


def forward(rig: Rig, scheme: str, server: str, events: int) -> float:
    """Events a second of a worker with two children that finds so many waiting; wake-ups on Redis."""
    with rig.bed("redis") as bed:
        url = _url(rig, scheme, server)
        listened_to(*open_bridge(url, Settings(broker_url="")))
        bed.settings = {"EVENTS_BRIDGES": url, "EVENTS_FORWARD": "Bridged"}
        bed.python("-m", "rigs.bench.prefill", "ours", "Bridged", str(events))
        bed.settle()
        bed.worker("events")
        bed.until(lambda: bed.number(_COUNT), events, f"forwarding by {scheme}", every=0.5)
        _check(bed, events)
        return rate([float(row[0]) for row in bed.rows(_DONE)])


def _check(bed: Bed, events: int) -> None:
    if (found := bed.number(_COUNT)) != events:
        raise Failed(f"{found:,.0f} deliveries of {events:,} events")


def _url(rig: Rig, scheme: str, server: str) -> str:
    for needed, client in (("nats", "nats"), ("kafka", "confluent_kafka")):
        if server == needed and importlib.util.find_spec(client) is None:
            raise NotMeasured(f"{client} is not installed; scripts/install --dev brings it")
    if server == "kafka":
        return f"{rig.kafka()}?prefix=bench"
    more = "?maxlen=10000" if re.search(r"\+(streams|jetstream)", scheme) else ""
    return f"{scheme}://127.0.0.1:{rig.machine(server).port}{more}"
