"""Target 3: how fast one relay moves a backlog to the broker."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import kombu
import redis

from rigs.bench.bed import QUEUE, Bed
from rigs.bench.figures import Compare, Failed, Goal, Measurement
from rigs.bench.models import COPIES
from rigs.bench.options import Options
from rigs.bench.rig import EMPTY, Rig

_UNSENT = """
    SELECT count(*) FROM
        (SELECT 1 FROM event_deliveries WHERE queue = :queue AND state = 'pending' AND due_at < now() LIMIT 1) AS one
"""
# As a worker that has handled some of them would have measured: a handler of which nobody knows how long it takes gets
# only a few deliveries at a time, and here no worker runs.
_KNOWN = "UPDATE event_subscriptions SET pace = 0.001"
_UNPROCESSED = "SELECT count(*) FROM (SELECT 1 FROM event_store WHERE NOT processed LIMIT 1) AS one"
_SENT = """
    SELECT count(*), extract(epoch FROM min(created_at)), extract(epoch FROM max(sent_at))
    FROM event_deliveries WHERE queue = :queue AND state = 'sent'
"""


def measurements(rig: Rig, options: Options) -> Iterator[Measurement]:
    for broker, name, wanted in (("redis", "Redis", 8000), ("rabbitmq", "RabbitMQ, quorum queue, confirms", 3000)):
        yield Measurement(3, f"relay to {name}", {"ours": lambda broker=broker: relay(rig, options, broker)}, [
            Goal(f"relay to {name}", "deliveries/s", compare=Compare.VALUE, at_least=wanted),
        ])  # fmt: skip


def relay(
    rig: Rig, options: Options, broker: str, template: str = EMPTY, prepare: Callable[[Bed], None] = lambda _: None
) -> float:
    """Deliveries a second, from the first fan-out until the last is on the broker; no worker runs."""
    events = options.sized(50_000, 500)
    expected = events * COPIES
    with rig.bed(broker, template) as bed:
        bed.settings = {"EVENTS_MAX_IN_FLIGHT": str(2 * expected)}  # it pauses when less than a quarter is free
        bed.python("-m", "rigs.bench.prefill", "ours", "Silent", str(events), "--subscribe")
        bed.rows(_KNOWN)
        prepare(bed)
        bed.settle()
        bed.start("relay", "-m", "events", "relay")
        # Cheap questions, asked rarely: how many there are is counted when all is over.
        bed.until(lambda: waiting(bed) if _has_more(bed) else math.inf, math.inf, "the relay", every=0.5)
        grew = _end_of_growth(bed)
        count, begun, marked = bed.rows(_SENT, queue=QUEUE)[0]
        if count != expected:
            raise Failed(f"{count:,} of {expected:,} deliveries were sent")
        return expected / (max(float(marked), grew) - float(begun))


def _has_more(bed: Bed) -> bool:
    return bool(bed.number(_UNPROCESSED) or bed.number(_UNSENT, queue=QUEUE))


def _end_of_growth(bed: Bed) -> float:
    """When the queue last grew, if it still grows: a delivery is marked as sent before it is; else 0."""
    last, grew, quiet = waiting(bed), 0.0, 0
    while quiet < 10:
        time.sleep(0.02)
        now = waiting(bed)
        if now != last:
            last, grew, quiet = now, time.time(), 0
        else:
            quiet += 1
    if not last:
        raise Failed("the ledger says that all was sent, and the broker has nothing")
    return grew


def waiting(bed: Bed) -> int:
    """Messages in the queue."""
    if bed.broker.startswith("redis"):
        with redis.Redis.from_url(bed.broker, socket_timeout=5) as client:
            return int(client.llen(QUEUE))
    with kombu.Connection(bed.broker, connect_timeout=5) as connection:
        with suppress(*connection.channel_errors), connection.channel() as channel:
            return int(channel.queue_declare(QUEUE, passive=True).message_count)
        return 0  # the relay has not made it yet
