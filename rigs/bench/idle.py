"""Target 9: what a worker costs that has nothing to do: memory, and questions to the database."""

import re
import time
from collections.abc import Iterator, Mapping
from functools import partial

from rigs.bench.draining import APPS
from rigs.bench.figures import Compare, Goal, Measurement
from rigs.bench.options import Options
from rigs.bench.proc import pss
from rigs.bench.rig import Rig
from rigs.chaos.processes import descendants

FIRST = 60  # events that it handles before: a worker that has never worked has loaded nothing yet
REST = 3  # seconds, for what still comes after them
_STATEMENT = re.compile(r"LOG: +(?:statement|execute [^:]*): *(\w*)")
_FRAMES = {"BEGIN", "COMMIT", "ROLLBACK"}  # of transactions: no questions


def measurements(rig: Rig, options: Options) -> Iterator[Measurement]:
    sides = {side: partial(_idle, rig, options, side) for side in APPS}
    yield Measurement(9, "an idle worker, Redis", sides, [
        Goal("memory of an idle worker, each process (PSS)", "MiB", "ours memory", "plain memory",
             Compare.DIFFERENCE, at_most=30, against="plain Celery"),
        Goal("queries of an idle worker", "queries/s", "ours queries", compare=Compare.VALUE, at_most=1),
        Goal("statements, with BEGIN, COMMIT and ROLLBACK", "queries/s", "ours statements", compare=Compare.VALUE),
    ])  # fmt: skip


def _idle(rig: Rig, options: Options, side: str) -> Mapping[str, float]:
    """Every statement is counted, in the server's own log: only this database writes its statements there."""
    seconds = options.sized(20, 5)
    with rig.bed("redis") as bed:
        rig.admin(f"ALTER DATABASE {bed.name} SET log_statement = 'all'")
        worker = bed.worker(APPS[side])
        bed.python("-m", "rigs.bench.prefill", side, "OnConnection", str(FIRST // 3))
        bed.until(lambda: bed.number("SELECT count(*) FROM bench_effects"), FIRST, "the worker's start")
        time.sleep(REST)
        log = rig.folder / "postgres" / "log"
        before, begun = log.stat().st_size, time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - begun
        with log.open(encoding="utf-8", errors="replace") as lines:
            lines.seek(before)
            words = [found[1].upper() for found in _STATEMENT.finditer(lines.read())]
        return {
            "memory": _memory(worker.pid),
            "queries": sum(word not in _FRAMES for word in words) / took,
            "statements": len(words) / took,
        }


def _memory(main: int) -> float:
    """MiB of each process."""
    sizes = [pss(pid) for pid in descendants(main)]
    return sum(sizes) / len(sizes)
