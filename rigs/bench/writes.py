"""Target 12: what a delivery that succeeds the first time costs the database: row versions, WAL, and round trips."""

from collections.abc import Iterator, Mapping
from functools import partial

from rigs.bench.bed import Bed
from rigs.bench.draining import APPS, EFFECTS
from rigs.bench.figures import Compare, Goal, Measurement
from rigs.bench.latency import RATE
from rigs.bench.models import COPIES
from rigs.bench.options import Options
from rigs.bench.rig import Rig
from rigs.bench.round_trips import counted

_KIND = "OnConnection"
_ROWS = """
    SELECT CASE WHEN relname = 'event_store' THEN 'event_store' ELSE 'ledger' END,
        sum(n_tup_ins), sum(n_tup_upd), sum(n_tup_hot_upd), sum(n_dead_tup)
    FROM pg_stat_user_tables WHERE relname LIKE 'event_%' GROUP BY 1
"""
_WAL = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"


def measurements(rig: Rig, options: Options) -> Iterator[Measurement]:
    events, seconds = options.sized(3000, 100), options.sized(20, 3)
    yield Measurement(
        12, "row versions a delivery, Redis",
        {"backlog": partial(_backlog, rig, "ours", events), "steady": partial(_steady, rig, seconds)},
        [Goal("row versions a delivery, under a backlog", "rows", "backlog rows", compare=Compare.VALUE, at_most=2.5),
         Goal(f"row versions a delivery, {RATE} events/s", "rows", "steady rows", compare=Compare.VALUE, at_most=3.3),
         Goal("rewrites of an event's row", "rows", "backlog rewrites", compare=Compare.VALUE, at_most=1)],
    )  # fmt: skip
    yield Measurement(
        12, "WAL a delivery, Redis",
        {"ours": partial(_backlog, rig, "ours", events), "plain": partial(_backlog, rig, "plain", events)},
        [Goal("WAL a delivery, under a backlog; without us", "bytes", "ours WAL", "plain WAL",
              compare=Compare.DIFFERENCE, at_most=1000, against="plain Celery, which writes the same rows")],
    )  # fmt: skip
    yield Measurement(
        12, "round trips a delivery, Redis",
        {"ours": partial(_round_trips, rig, "ours", events), "plain": partial(_round_trips, rig, "plain", events)},
        [Goal("round trips a delivery, under a backlog, its own row's included; without us", "round trips", "ours",
              "plain", compare=Compare.VALUE, at_most=1.64,
              against="plain Celery, which writes the same rows, each in a transaction of its own")],
    )  # fmt: skip


def _backlog(rig: Rig, side: str, events: int) -> Mapping[str, float]:
    """Of deliveries that waited when the worker began."""
    with rig.bed("redis") as bed:
        subscribed = ["--subscribe"] if side == "ours" else []
        # No checkpoint in between: the images of whole pages that follow one say more of it than of us.
        bed.python("-m", "rigs.bench.prefill", side, _KIND, str(events), *subscribed)
        before, wal = _counted(bed), bed.number(_WAL)
        bed.worker(APPS[side])
        return _after(bed, before, wal, events)


def _round_trips(rig: Rig, side: str, events: int) -> float:
    """Of a worker, its start and its looks included: how often it waits for the database."""
    port = rig.machine("postgres").port
    with rig.bed("redis") as bed, counted(port) as counter:
        bed.python("-m", "rigs.bench.prefill", side, _KIND, str(events), *(["--subscribe"] if side == "ours" else []))
        through = (
            bed.environment()["EVENTS_DATABASE_URL"].replace(f":{port}/", f":{counter.port}/") + "?sslmode=disable"
        )
        bed.settings |= {"EVENTS_DATABASE_URL": through, "BENCH_DATABASE_URL": through}
        bed.worker(APPS[side])
        bed.until(lambda: bed.number(EFFECTS), events * COPIES, "the effects", every=0.25)
        return counter.count / (events * COPIES)


def _steady(rig: Rig, seconds: int) -> Mapping[str, float]:
    """Of deliveries that are handled as they come."""
    with rig.bed("redis") as bed:
        bed.worker(APPS["ours"])
        bed.python("-m", "rigs.bench.pacer", str(RATE), "0.1", _KIND)  # the handlers' paces are known afterwards
        first = int(RATE * 0.1) * COPIES
        bed.until(lambda: bed.number(EFFECTS), first, "the worker's start")
        wal = bed.number(_WAL)
        bed.python("-m", "rigs.bench.pacer", str(RATE), str(seconds), _KIND)
        return _after(bed, {}, wal, first // COPIES + RATE * seconds)


def _after(bed: Bed, before: Mapping[str, list[float]], wal: float, events: int) -> Mapping[str, float]:
    """The figures of the run, when it has come to its end."""
    deliveries = events * COPIES
    bed.until(lambda: bed.number(EFFECTS), deliveries, "the effects", every=0.25)
    wal = bed.number(_WAL) - wal
    for process in bed.processes:
        process.end()  # a connection tells what it has counted when it closes, at the latest
    after = _counted(bed)

    def more(table: str, place: int) -> float:
        return after[table][place] - before.get(table, [0.0] * 4)[place]

    return {
        "rows": (more("ledger", 0) + more("ledger", 1)) / deliveries,
        "rewrites": more("event_store", 1) / events,
        "WAL": wal / deliveries,
    }


def _counted(bed: Bed) -> dict[str, list[float]]:
    return {str(table): [float(count) for count in counts] for table, *counts in bed.rows(_ROWS)}
