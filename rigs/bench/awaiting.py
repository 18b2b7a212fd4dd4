"""Target 16: `async def` handlers that each wait 100 ms for a web server and write a row; many at once, and one."""

import time
from collections.abc import Iterator
from functools import partial

from rigs.bench import records
from rigs.bench.draining import NAMES
from rigs.bench.figures import Failed, Goal, Measurement
from rigs.bench.options import Options
from rigs.bench.rig import Rig

AT_ONCE = {"many": 50, "one": 1}
_EFFECTS = "SELECT count(*) FROM bench_effects"
_ONCE = "SELECT count(*), count(DISTINCT number) FROM bench_effects"
_LAST = "SELECT extract(epoch FROM max(at)) FROM bench_effects"
_STARTS_WITHIN = 30.0  # seconds, of the web server


def measurements(rig: Rig, options: Options) -> Iterator[Measurement]:
    runs = options.sized(1000, 100)
    for broker in ("", "redis"):
        for driver in ("psycopg", "asyncpg") if not broker else ("psycopg",):
            what = f"async handlers: {runs:,} that wait 100 ms and write a row, {driver}, {NAMES[broker]}"
            sides = {name: partial(_rate, rig, broker, runs, driver, at_once) for name, at_once in AT_ONCE.items()}
            goal = Goal(what, "runs/s", "many", "one", at_least=10, against="EVENTS_ASYNC_CONCURRENCY=1")
            yield Measurement(16, what, sides, [goal])


def _rate(rig: Rig, broker: str, runs: int, driver: str, at_once: int) -> float:
    """Handler runs a second of two children, from the first start of a handler to the last commit."""
    with rig.bed(broker) as bed:
        port = bed.folder / "port"
        bed.start("http", "-m", "rigs.bench.slow_http", str(port))
        deadline = time.monotonic() + _STARTS_WITHIN
        while not port.exists():
            if time.monotonic() > deadline:
                raise Failed(f"no web server after {_STARTS_WITHIN:g} s")
            time.sleep(0.05)
        bed.settings |= {
            "EVENTS_ASYNC_CONCURRENCY": str(at_once),
            "EVENTS_ASYNC_DRIVER": driver,
            "BENCH_HTTP_PORT": port.read_text(),
        }
        bed.python("-m", "rigs.bench.prefill", "ours", "Awaiting", str(runs))
        bed.settle()
        bed.worker("events")
        bed.until(lambda: bed.number(_EFFECTS), runs, f"{at_once} at a time", every=0.25)
        found, distinct = bed.rows(_ONCE)[0]
        if not found == distinct == runs:
            raise Failed(f"not exactly once: {runs:,} expected, {found:,} effects of {distinct:,} deliveries")
        return runs / (bed.number(_LAST) - records.read(bed.records)[0][1])
