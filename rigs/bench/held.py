"""Target 13: what it costs when somebody keeps a transaction open, so that no dead row can be removed.

A report, a dump or a stuck replica does that. Meanwhile events are handled as they come, and then a backlog is.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial

from sqlalchemy import text

from rigs.bench.bed import Bed
from rigs.bench.draining import EFFECTS, TIMES, rate
from rigs.bench.figures import Goal, Measurement
from rigs.bench.latency import waited
from rigs.bench.models import COPIES
from rigs.bench.options import Options
from rigs.bench.rig import EMPTY, Rig

_STEADY = 200  # events a second
_PIECE = 60  # seconds that one publisher publishes
_UNWANTED = "bench_unwanted"  # a template
_UNHANDLED = """
    INSERT INTO event_store (id, aggregate_id, event_type, event_data, timestamp)
    SELECT gen_random_uuid(), '', 'Unwanted', jsonb_build_object('number', n, 'customer', 'Duke Leto Atreides'),
        now() - interval '1 day'
    FROM generate_series(1, {count}) AS n
"""


def measurements(rig: Rig, options: Options) -> Iterator[Measurement]:
    seconds, backlog = options.sized(600, 10), options.sized(50_000, 500)
    unhandled = options.sized(1_000_000, 10_000)

    def template() -> str:
        return rig.template(_UNWANTED, partial(_fill, rig, unhandled))

    run = partial(_run, rig, options, seconds, backlog)
    sides: dict[str, Callable[[], Mapping[str, float]]] = {
        "free": partial(run, held=False),
        "held": partial(run, held=True),
        "beside": lambda: run(held=True, template=template()),
    }
    what = f"a transaction open for {seconds:,} s at {_STEADY} events/s"
    yield Measurement(13, what, sides, [
        Goal(f"{name}: {figure}", unit, f"{side} {sample}", f"free {sample}", at_least=least, at_most=most,
             against="without")
        for side, name in (("held", what), ("beside", f"the same, and {unhandled:,} events that nobody handles"))
        for figure, sample, unit, least, most in (
            (f"then {backlog:,} events are drained", "drain", "runs/s", 0.8, None),
            ("commit to start, p50", "p50", "ms", None, 1.5),
            ("commit to start, p99", "p99", "ms", None, None),
        )
    ], once=True)  # fmt: skip


def _run(
    rig: Rig, options: Options, seconds: int, backlog: int, *, held: bool, template: str = EMPTY
) -> Mapping[str, float]:
    with rig.bed("redis", template) as bed:
        worker = bed.worker("events")
        with _snapshot(bed) if held else nullcontext():
            _pace(bed, seconds)
            bed.end(worker)
            latency = waited(bed, options)
            bed.python("-m", "rigs.bench.prefill", "ours", "OnConnection", str(backlog))
            bed.settle()
            bed.worker("events")
            _until_handled(bed, seconds * _STEADY + backlog, "the backlog")
            times = [float(row[0]) for row in bed.rows(TIMES)]
        return {"drain": rate(times[-backlog * COPIES :]), **latency}


@contextmanager
def _snapshot(bed: Bed) -> Iterator[None]:
    """A transaction that has read something, and then does nothing."""
    with bed.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
        connection.execute(text("SELECT count(*) FROM event_subscriptions"))
        yield


def _pace(bed: Bed, seconds: int) -> None:
    """Publish for so long, and wait until all is handled."""
    for begun in range(0, seconds, _PIECE):
        piece = min(_PIECE, seconds - begun)
        bed.python("-m", "rigs.bench.pacer", str(_STEADY), str(piece), "OnConnection")
        _until_handled(bed, (begun + piece) * _STEADY, "the events that come")


def _until_handled(bed: Bed, events: int, what: str) -> None:
    bed.until(lambda: bed.number(EFFECTS), events * COPIES, what, every=0.5)


def _fill(rig: Rig, count: int, name: str) -> None:
    rig.say(f"filling {name}: {count:,} events that nobody handles")
    rig.admin(_UNHANDLED.format(count=count), name)
    rig.admin("VACUUM ANALYZE", name)
