"""Target 11: how fast bridges forward. What a bridge itself does, and a worker with one that works off a backlog."""

import importlib.util
import re
from collections.abc import Iterator
from functools import partial

from _bench.bed import Bed
from _bench.draining import rate
from _bench.figures import Compare, Failed, Goal, Measurement, NotMeasured
from _bench.options import Options
from _bench.rig import Rig

BRIDGES = {  # name to scheme, and to the server that it needs
    "Redis Streams": ("redis+streams", "redis"),
    "Redis Pub/Sub": ("redis+pubsub", "redis"),
    "NATS JetStream": ("nats+jetstream", "nats"),
    "NATS core": ("nats", "nats"),
}
_DONE = "SELECT extract(epoch FROM finished_at) FROM event_deliveries WHERE state = 'succeeded' ORDER BY finished_at"
_COUNT = "SELECT count(*) FROM event_deliveries WHERE state = 'succeeded'"


def measurements(rig: Rig, options: Options) -> Iterator[Measurement]:
    for name, (scheme, server) in BRIDGES.items():
        events = options.sized(30_000, 1000)
        yield Measurement(11, f"{name}, the bridge alone", {"ours": partial(send, rig, scheme, server, events)}, [
            Goal(f"{name}: the bridge alone, batches of 100", "events/s", compare=Compare.VALUE, at_least=5000),
        ])  # fmt: skip
        yield Measurement(11, f"{name}, a worker's backlog", {"ours": partial(forward, rig, scheme, server, events)}, [
            Goal(f"{name}: a worker forwards its backlog", "events/s", compare=Compare.VALUE),
        ])  # fmt: skip


def send(rig: Rig, scheme: str, server: str, events: int) -> float:
    """Events a second, from objects in memory to the server's answer; one thread."""
    with rig.bed() as bed:
        return float(bed.figures("-m", "_bench.sending", _url(rig, scheme, server), str(events)))


def forward(rig: Rig, scheme: str, server: str, events: int) -> float:
    """Events a second of a worker with two children that finds so many waiting; wake-ups on Redis."""
    with rig.bed("redis") as bed:
        bed.settings = {"EVENTS_BRIDGES": _url(rig, scheme, server), "EVENTS_FORWARD": "Bridged"}
        bed.python("-m", "_bench.prefill", "ours", "Bridged", str(events))
        bed.settle()
        bed.worker("events")
        bed.until(lambda: bed.number(_COUNT), events, f"forwarding by {scheme}", every=0.5)
        _check(bed, events)
        return rate([float(row[0]) for row in bed.rows(_DONE)])


def _check(bed: Bed, events: int) -> None:
    if (found := bed.number(_COUNT)) != events:
        raise Failed(f"{found:,.0f} deliveries of {events:,} events")


def _url(rig: Rig, scheme: str, server: str) -> str:
    if server == "nats" and importlib.util.find_spec("nats") is None:
        raise NotMeasured("nats-py is not installed; scripts/install --dev brings it")
    more = "?maxlen=10000" if re.search(r"\+(streams|jetstream)", scheme) else ""
    return f"{scheme}://127.0.0.1:{rig.machine(server).port}{more}"
