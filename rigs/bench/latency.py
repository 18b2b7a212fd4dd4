"""Target 8: how long it is from a commit to the start of the handler, at an ordinary load."""

import statistics
import time
from collections.abc import Iterator, Mapping
from functools import partial

from rigs.bench import records
from rigs.bench.bed import Bed
from rigs.bench.draining import NAMES
from rigs.bench.figures import Compare, Goal, Measurement
from rigs.bench.options import Options
from rigs.bench.rig import EMPTY, Rig

RATE = 100  # events a second
WARM_UP = 3  # seconds
FIRST = 5  # events that tell that the worker works


def measurements(rig: Rig, options: Options) -> Iterator[Measurement]:
    for broker in ("redis", "rabbitmq", ""):
        what = f"commit to start at {RATE} events/s, {NAMES[broker]}"
        yield Measurement(8, what, {"ours": partial(waits, rig, options, broker)}, [
            Goal(f"{what}, p50", "ms", "ours p50", compare=Compare.VALUE, at_most=8),
            Goal(f"{what}, p99", "ms", "ours p99", compare=Compare.VALUE, at_most=25),
        ])  # fmt: skip


def waits(rig: Rig, options: Options, broker: str, template: str = EMPTY) -> Mapping[str, float]:
    """p50 and p99 in ms. Both processes read the same clock of the same machine."""
    with rig.bed(broker, template) as bed:
        return waited(bed, options)


def waited(bed: Bed, options: Options) -> Mapping[str, float]:
    """The same in a bed that has no worker; the worker ends afterwards."""
    seconds = options.sized(20, 3) + WARM_UP
    before = bed.noted()
    worker = bed.worker("events")
    bed.python("-m", "rigs.bench.pacer", str(RATE), str(FIRST / RATE))
    bed.until(bed.noted, before + FIRST, "the worker's start")
    begun = time.time()
    committed: list[float] = bed.figures("-m", "rigs.bench.pacer", str(RATE), str(seconds))
    bed.until(bed.noted, before + FIRST + len(committed), "the last events")
    bed.end(worker)
    started: dict[int, float] = {}
    for number, at in records.read(bed.records):
        if at > begun:  # a handler that is started again counts the first time
            started.setdefault(number, at)
    found = [max(0.0, started[number] - at) * 1000 for number, at in enumerate(committed)][RATE * WARM_UP :]
    cuts = statistics.quantiles(found, n=100, method="inclusive")
    return {"p50": cuts[49], "p99": cuts[98]}
