"""Target 10: what millions of finished deliveries, and a backlog that is not this worker's, cost those who work."""

from collections.abc import Iterator
from functools import partial

from rigs.bench.bed import Bed
from rigs.bench.draining import drain
from rigs.bench.figures import Goal, Measurement
from rigs.bench.filling import fill
from rigs.bench.latency import waits
from rigs.bench.options import Options
from rigs.bench.relaying import relay
from rigs.bench.rig import EMPTY, Rig

FULL = "bench_full"


def measurements(rig: Rig, options: Options) -> Iterator[Measurement]:
    finished, backlog = options.sized(5_000_000, 30_000), options.sized(500_000, 3_000)
    full = f"{finished:,} finished, {backlog:,} waiting"

    def template(name: str) -> str:
        return rig.template(FULL, partial(fill, rig, finished, backlog)) if name == "full" else EMPTY

    relays = {
        name: lambda name=name: relay(rig, options, "redis", template(name), _not_today) for name in ("empty", "full")
    }
    yield Measurement(10, f"relay to Redis, {full}", relays, [
        Goal("relay to Redis, full tables; empty ones", "deliveries/s", "full", "empty", at_least=0.8,
             against="empty tables"),
    ])  # fmt: skip
    runs = options.sized(6000, 300)
    drains = {
        name: lambda name=name: drain(rig, "redis", "ours", "OnConnection", runs, template(name))
        for name in ("empty", "full")
    }
    yield Measurement(10, f"handlers on a Connection, Redis, {full}", drains, [
        Goal("handlers on a Connection, Redis, full tables; empty ones", "runs/s", "full", "empty", at_least=0.8,
             against="empty tables"),
    ])  # fmt: skip
    latencies = {name: lambda name=name: waits(rig, options, "redis", template(name)) for name in ("empty", "full")}
    yield Measurement(10, f"commit to start, Redis, {full}", latencies, [
        Goal("commit to start, Redis, full tables; empty ones, p50", "ms", "full p50", "empty p50", at_most=1.2,
             against="empty tables"),
        Goal("commit to start, Redis, full tables; empty ones, p99", "ms", "full p99", "empty p99",
             against="empty tables"),
    ])  # fmt: skip


def _not_today(bed: Bed) -> None:
    """A relay with room for everything would send that backlog, too; for a worker's there is no such room."""
    bed.rows("UPDATE event_deliveries SET due_at = now() + interval '1 day' WHERE queue = 'elsewhere'")
    bed.rows("VACUUM ANALYZE event_deliveries")
