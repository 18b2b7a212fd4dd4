"""Target 15: what a ledger costs that has run for long, and what it costs to prune it."""

import json
import time
from collections.abc import Iterator, Mapping
from functools import partial

from rigs.bench.bed import Bed, Running
from rigs.bench.draining import drained
from rigs.bench.figures import Compare, Failed, Goal, Measurement
from rigs.bench.filling import TABLES, clean_up, fill, write_on
from rigs.bench.latency import waited
from rigs.bench.options import Options
from rigs.bench.rig import EMPTY, Rig

AGED = "bench_aged"
WITHIN = 7200.0  # seconds, for a prune
_SIZE = " + ".join(f"pg_total_relation_size('{table}')" for table in TABLES)


def measurements(rig: Rig, options: Options) -> Iterator[Measurement]:
    # Of a trial, too, the prune takes longer than the work that is measured beside it.
    finished, backlog = options.sized(20_000_000, 2_400_000) // 6 * 6, options.sized(1_000_000, 120_000)
    old = finished // 2
    full = f"{finished:,} finished, {backlog:,} waiting"

    def template() -> str:
        return rig.template(AGED, partial(fill, rig, finished, backlog, old=old))

    work = {
        "empty": lambda: _work(rig, options, EMPTY),
        "full": lambda: _work(rig, options, template()),
    }
    yield Measurement(15, f"Redis, {full}", work, [
        Goal(f"handlers on a Connection, Redis, {full}; empty tables", "runs/s", "full runs", "empty runs",
             at_least=0.9, against="empty tables"),
        Goal(f"commit to start, Redis, {full}; empty tables, p50", "ms", "full p50", "empty p50", at_most=1.2,
             against="empty tables"),
        Goal(f"commit to start, Redis, {full}; empty tables, p99", "ms", "full p99", "empty p99",
             against="empty tables"),
    ], once=True)  # fmt: skip
    prune = {"ours": lambda: _pruned(rig, options, template(), finished, old)}
    what, beside = f"events prune of {old:,} of {finished:,} deliveries", "without the prune"
    yield Measurement(15, what, prune, [
        Goal("handlers on a Connection, Redis, while events prune runs", "runs/s", "ours beside runs",
             "ours alone runs", at_least=0.8, against=beside),
        Goal("commit to start, Redis, while events prune runs, p50", "ms", "ours beside p50", "ours alone p50",
             against=beside),
        Goal("commit to start, Redis, while events prune runs, p99", "ms", "ours beside p99", "ours alone p99",
             against=beside),
        Goal(what, "deliveries/s", "ours pruned", compare=Compare.VALUE),
        Goal(f"event_store and event_deliveries after the next {old:,} deliveries; before the prune", "GiB",
             "ours after", "ours before", at_most=1.05, against="before the prune"),
    ], once=True)  # fmt: skip


def _work(rig: Rig, options: Options, template: str) -> Mapping[str, float]:
    with rig.bed("redis", template) as bed:
        return _live(bed, options)


def _live(bed: Bed, options: Options) -> Mapping[str, float]:
    """A backlog worked off, and then an ordinary load, by a worker each."""
    bed.rows("TRUNCATE bench_effects")
    runs = drained(bed, "ours", "OnConnection", options.sized(6000, 3000))
    return {"runs": runs, **waited(bed, options)}


def _pruned(rig: Rig, options: Options, template: str, finished: int, old: int) -> Mapping[str, float]:
    """Half of it all is pruned while a worker works, and then as much again is written."""
    with rig.bed("redis", template) as bed:
        alone = _live(bed, options)
        before, begun = _size(bed), time.monotonic()
        command = ("-m", "events", "prune", "--older-than", "30d", "--yes", "--json")
        prune = bed.start("prune", *command, for_good=False)
        beside = _live(bed, options)
        if prune.ended:
            raise Failed(f"the prune ended before the work beside it; raise --scale:\n{prune.last_lines()}")
        _until_end(prune, old)
        took = time.monotonic() - begun
        clean_up(rig, bed)
        write_on(rig, bed, finished, old)
        return {
            **{f"alone {name}": value for name, value in alone.items()},
            **{f"beside {name}": value for name, value in beside.items()},
            "pruned": old / took, "before": before, "after": _size(bed),
        }  # fmt: skip


def _until_end(prune: Running, old: int) -> None:
    deadline = time.monotonic() + WITHIN
    while not prune.ended:
        if time.monotonic() > deadline:
            raise Failed(f"the prune took longer than {WITHIN:g} s")
        time.sleep(0.1)
    words = prune.last_lines()
    if prune.codes != [0] or json.loads(words)["deliveries"] != old:
        raise Failed(f"the prune ended with {prune.codes[0]}, and should have deleted {old:,} deliveries:\n{words}")


def _size(bed: Bed) -> float:
    """GiB of both tables, with their indexes."""
    return bed.number(f"SELECT {_SIZE}") / 2**30
