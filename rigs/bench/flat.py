"""Target 10: what millions of finished deliveries, and a backlog that is not this worker's, cost those who work."""

from collections.abc import Iterator
from functools import partial

from rigs.bench.bed import QUEUE, Bed
from rigs.bench.draining import drain
from rigs.bench.figures import Goal, Measurement
from rigs.bench.latency import waits
from rigs.bench.options import Options
from rigs.bench.relaying import relay
from rigs.bench.rig import EMPTY, Rig

FULL = "bench_full"

# Ids that grow with time, as the package makes them; three deliveries an event, as in all targets.
_ID = "(lpad(to_hex(1600000000000 + n), 12, '0') || '70008000' || lpad(to_hex({salt}), 12, '0'))::uuid"
_EVENTS = """
    INSERT INTO event_store (id, aggregate_id, event_type, event_data, timestamp, processed, fanned_out, created_at)
    SELECT {id}, '', {type}, jsonb_build_object('number', n, 'customer', 'Duke Leto Atreides', 'lines', (
        SELECT jsonb_agg(jsonb_build_object('article', 'spice, harvested by crawler ' || line, 'quantity', '12.5 kg',
                                            'price', '199.90')) FROM generate_series(0, 4) AS line)),
        now() - interval '1 day', true, 1, now() - interval '1 day'
    FROM generate_series(1, {count}) AS n
"""
_FINISHED = """
    INSERT INTO event_deliveries (event_id, handler, queue, state, attempts, due_at, created_at, sent_at,
                                  first_started_at, started_at, finished_at, worker)
    SELECT {id}, 'OnConnection.' || copy, '{queue}', 'succeeded', 1, at, at, at, at, at, at, 'w@bench/0.1'
    FROM generate_series(1, {count}) AS n, generate_series(0, 2) AS copy,
        (SELECT now() - interval '1 day' AS at) AS yesterday
"""
# Half of it is due in a queue that has no worker, half waits for tomorrow in the queue that is measured.
_BACKLOG = """
    INSERT INTO event_deliveries (event_id, handler, queue, state, due_at, created_at)
    SELECT {id}, 'Kept.' || copy, CASE n % 2 WHEN 0 THEN 'elsewhere' ELSE '{queue}' END, 'pending',
        CASE n % 2 WHEN 0 THEN now() - interval '1 hour' ELSE now() + interval '1 day' END, now() - interval '1 day'
    FROM generate_series(1, {count}) AS n, generate_series(0, 2) AS copy
"""


def measurements(rig: Rig, options: Options) -> Iterator[Measurement]:
    finished, backlog = options.sized(5_000_000, 30_000), options.sized(500_000, 3_000)
    full = f"{finished:,} finished, {backlog:,} waiting"

    def template(name: str) -> str:
        return rig.template(FULL, partial(_fill, rig, finished // 3, backlog // 3)) if name == "full" else EMPTY

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


def _fill(rig: Rig, finished: int, backlog: int, name: str) -> None:
    rig.say(f"filling {name}: {finished * 3:,} finished deliveries and {backlog * 3:,} that wait")
    for salt, kind, deliveries, count in ((1, "'OnConnection'", _FINISHED, finished), (2, "'Kept'", _BACKLOG, backlog)):
        id_ = _ID.format(salt=salt)
        rig.admin(_EVENTS.format(id=id_, type=kind, count=count), name)
        rig.admin(deliveries.format(id=id_, queue=QUEUE, count=count), name)
    rig.admin("VACUUM ANALYZE", name)
