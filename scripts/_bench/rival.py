"""Target 6, the other half: without a broker, against pgqueuer, the fastest Python queue on Postgres that we know.

It is no dependency of the project: it lives in an environment of its own, made when it is first needed.
"""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from _demo.interrupts import held_back
from _demo.worker import ROOT

from _bench.draining import TIMES, drain, rate
from _bench.figures import Failed, Goal, Measurement, NotMeasured
from _bench.models import COPIES
from _bench.options import Options
from _bench.rig import Rig

REQUIREMENT = "pgqueuer[asyncpg]==1.6.0"
HOME = ROOT / ".cache" / "bench" / REQUIREMENT.replace("[", "-").replace("]", "")
WORKER = Path(__file__).with_name("rival_worker.py")


def measurements(rig: Rig, options: Options) -> Iterator[Measurement]:
    what = "handlers on a Connection, Postgres without a broker; pgqueuer"
    sides = {
        "ours": partial(drain, rig, "", "ours", "OnConnection", options.sized(6000, 300)),
        "pgqueuer": partial(_pgqueuer, rig, options.sized(15_000, 300)),
    }
    yield Measurement(6, what, sides, [Goal(what, "runs/s", "ours", "pgqueuer", at_least=1)])


def _pgqueuer(rig: Rig, runs: int) -> float:
    """Jobs a second of one of its workers, with tables as durable as ours, measured as ours is."""
    program = _installed(rig)
    with rig.bed() as bed:
        url = bed.environment()["BENCH_DATABASE_URL"]
        bed.python(str(WORKER), "prefill", url, str(runs // COPIES), program=program)
        bed.settle()
        bed.python(str(WORKER), "work", url, program=program)
        times = [float(row[0]) for row in bed.rows(TIMES)]
        if len(times) != runs // COPIES * COPIES:
            raise Failed(f"pgqueuer wrote {len(times):,} rows for {runs:,} jobs")
        return rate(times)


def _installed(rig: Rig) -> Path:
    """Its Python. Raises NotMeasured if it can't be had."""
    program, done = HOME / "bin" / "python", HOME / "installed"
    if done.exists():
        return program
    rig.say(f"installing {REQUIREMENT} into {HOME.relative_to(ROOT)}")
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(HOME)],
        [str(program), "-m", "pip", "install", "--quiet", REQUIREMENT],
    ):
        with held_back():
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        try:
            printed, _ = process.communicate()
        finally:
            process.kill()
        if process.returncode:
            raise NotMeasured(
                f"{REQUIREMENT} can't be installed: {(printed.strip().splitlines() or ['no reason'])[-1]}"
            )
    done.touch()
    return program
