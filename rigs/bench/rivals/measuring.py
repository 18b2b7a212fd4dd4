"""Ours and each rival in turn: those that ours shall beat as the other half of target 6, others for information."""

from collections.abc import Iterator
from functools import partial

from rigs.bench.draining import EFFECTS, NAMES, TIMES, drain, rate
from rigs.bench.figures import Failed, Goal, Measurement
from rigs.bench.models import COPIES
from rigs.bench.options import Options
from rigs.bench.rig import Rig
from rigs.bench.rivals.installing import program
from rigs.bench.rivals.known import OTHERS, PGQUEUER, Rival


def measurements(rig: Rig, options: Options) -> Iterator[Measurement]:
    runs = options.sized(6000, 300)
    install = not options.quick
    what = "handlers on a Connection, Postgres without a broker; pgqueuer"
    many = options.sized(15_000, 300)
    theirs = partial(_pgqueuer, rig, many, install=install)
    yield _against(rig, 6, what, PGQUEUER, theirs, many, wanted=PGQUEUER.wanted)
    what = "handlers that write SQL as text, as pgqueuer's do, Postgres without a broker; pgqueuer"
    yield _against(rig, 6, what, PGQUEUER, theirs, many, kind="AsText")
    for rival in OTHERS:
        what = f"handlers on a Connection, {NAMES[rival.broker]}; {rival.name}"
        theirs = partial(_drained, rig, rival, runs, install=install)
        yield _against(rig, 6 if rival.wanted else None, what, rival, theirs, runs, wanted=rival.wanted)


def _against(
    rig: Rig, target: int | None, what: str, rival: Rival, theirs: "partial[float]", runs: int,
    kind: str = "OnConnection", wanted: float | None = None,
) -> Measurement:  # fmt: skip
    sides = {rival.name: theirs, "ours": partial(drain, rig, rival.broker, "ours", kind, runs)}
    chart = NAMES[rival.broker] + (", SQL as text" if kind == "AsText" else "")
    goal = Goal(
        what, "runs/s", "ours", rival.name, at_least=wanted, chart=chart,
        against=rival.name, settings=rival.settings, guarantee=rival.guarantee,
    )  # fmt: skip
    return Measurement(target, what, sides, [goal])


def _pgqueuer(rig: Rig, runs: int, *, install: bool) -> float:
    """Jobs a second of one of its workers, with tables as durable as ours, measured as ours is."""
    python = program(PGQUEUER, rig.say, install=install)
    with rig.bed() as bed:
        bed.python("-m", PGQUEUER.path, "prefill", str(runs // COPIES), program=python)
        bed.settle()
        for command in PGQUEUER.commands:
            bed.python(*command, program=python)  # it ends when nothing is left
        times = [float(row[0]) for row in bed.rows(TIMES)]
        if len(times) != runs // COPIES * COPIES:
            raise Failed(f"pgqueuer wrote {len(times):,} rows for {runs:,} jobs")
        return rate(times)


def _drained(rig: Rig, rival: Rival, runs: int, *, install: bool) -> float:
    """Tasks a second of its two processes, which find all of them waiting."""
    python = program(rival, rig.say, install=install)
    events = runs // COPIES
    with rig.bed(rival.broker) as bed:
        bed.python("-m", rival.path, "prefill", str(events), program=python)
        bed.settle()
        for command in rival.commands:
            bed.start(rival.name, *command, program=python)
        bed.until(lambda: bed.number(EFFECTS), events * COPIES, rival.name, every=0.25)
        return rate([float(row[0]) for row in bed.rows(TIMES)])
