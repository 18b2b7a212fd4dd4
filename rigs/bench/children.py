"""Target 14: what a prefork child costs that works for long: its memory stays, and it has few database connections."""

import time
from collections.abc import Iterator, Mapping
from functools import partial

from rigs.bench.bed import Bed, Running
from rigs.bench.draining import EFFECTS
from rigs.bench.figures import Compare, Failed, Goal, Measurement
from rigs.bench.models import COPIES
from rigs.bench.options import Options
from rigs.bench.proc import local_ports, pss, sockets
from rigs.bench.rig import Rig
from rigs.chaos.processes import descendants

KINDS = ("OnConnection", "OnSession")  # handlers of both sorts, by turns
MANY = 8  # children that work side by side
_AT_ONCE = 10_000  # deliveries that are published together, so that no backlog fills the worker's memory
_REST = 2.0  # seconds, for what is put away after the last of them

_OURS = """
    SELECT client_port FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'events' AND client_port > 0
"""


def measurements(rig: Rig, options: Options) -> Iterator[Measurement]:
    first, more = options.sized(20_000, 1_200), options.sized(100_000, 3_000)
    sides = {
        "memory": partial(_grown, rig, first, more),
        "connections": partial(_connected, rig, options.sized(30_000, 1_200)),
    }
    yield Measurement(14, "a prefork child, Redis", sides, [
        Goal(f"memory of a prefork child (PSS) after another {more:,} deliveries; after {first:,}", "MiB",
             "memory end", "memory begin", at_most=1.05, against="after its first deliveries"),
        Goal(f"database connections of a prefork child, the most of {MANY}", "connections", "connections child",
             compare=Compare.VALUE, at_most=2),
        Goal("... of the worker's main process", "connections", "connections main", compare=Compare.VALUE),
    ])  # fmt: skip


def _grown(rig: Rig, first: int, more: int) -> Mapping[str, float]:
    """MiB of the only child of a worker, which does all the work, when it has nothing to do: warm, and at the end."""
    with rig.bed("redis") as bed:
        worker = bed.worker("events", children=1)
        warm = _work(bed, 0, first)
        child, begin = _child(worker), _size(worker)
        done = warm
        while done < warm + more:
            done = _work(bed, done, min(_AT_ONCE, warm + more - done))
        end = _size(worker)
        if _child(worker) != child:
            raise Failed("the child was replaced by another on the way")
        return {"begin": begin, "end": end}


def _work(bed: Bed, done: int, more: int) -> int:
    """Publish so many deliveries and wait until they are done; how many there are by then."""
    events = -(-more // (COPIES * len(KINDS)))
    for kind in KINDS:
        bed.python("-m", "rigs.bench.prefill", "ours", kind, str(events))
    done += events * COPIES * len(KINDS)
    bed.until(lambda: bed.number(EFFECTS), done, "the worker's child", every=0.25)
    return done


def _size(worker: Running) -> float:
    time.sleep(_REST)
    return pss(_child(worker))


def _child(worker: Running) -> int:
    _, child = descendants(worker.pid)
    return child


def _connected(rig: Rig, runs: int) -> Mapping[str, float]:
    """The most connections that a process was seen with, while all of them worked."""
    most: dict[int, int] = {}
    with rig.bed("redis") as bed:
        for kind in KINDS:
            bed.python("-m", "rigs.bench.prefill", "ours", kind, str(runs // (COPIES * len(KINDS))))
        expected = runs // (COPIES * len(KINDS)) * COPIES * len(KINDS)
        worker = bed.worker("events", children=MANY)

        def looked() -> float:
            for pid, count in _connections(bed, worker.pid).items():
                most[pid] = max(most.get(pid, 0), count)
            return bed.number(EFFECTS)

        bed.until(looked, expected, "the worker's children", every=0.02)
        main = most.pop(worker.pid)
        if len(most) != MANY or not all(most.values()):
            raise Failed(f"{MANY} children should have worked with a connection each: {sorted(most.values())}")
        return {"child": max(most.values()), "main": main}


def _connections(bed: Bed, main: int) -> dict[int, int]:
    """How many of the database's connections each process has. A child has copies of what was open when it was forked,
    which are the main process's."""
    theirs = {int(port) for (port,) in bed.rows(_OURS)}
    ports = local_ports()
    inherited = sockets(main)
    found = {pid: sockets(pid) - inherited for pid in descendants(main)} | {main: inherited}
    return {pid: sum(ports.get(socket) in theirs for socket in held) for pid, held in found.items()}
