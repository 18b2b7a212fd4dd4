"""Targets 4 to 7: how fast a worker works off a backlog, from commit to effect."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from rigs.bench import records
from rigs.bench.bed import Bed
from rigs.bench.figures import Failed, Goal, Measurement
from rigs.bench.models import COPIES, names
from rigs.bench.options import Options
from rigs.bench.rig import EMPTY, Rig

WARM_UP = 0.1  # share of the effects
EFFECTS = "SELECT count(*) FROM bench_effects"
TIMES = "SELECT extract(epoch FROM at) FROM bench_effects ORDER BY at"
_ONCE = "SELECT count(*), count(DISTINCT (handler, number)) FROM bench_effects"
_UNFINISHED = " + ".join(  # one by one: each has an index, whatever else is in the table
    f"(SELECT count(*) FROM event_deliveries WHERE state = '{state}' AND handler = ANY (:handlers))"
    for state in ("pending", "sent", "running")
)
NO_SETTINGS: Mapping[str, str] = {}
APPS = {"ours": "events", "plain": "rigs.bench.plain"}
NAMES = {"": "Postgres without a broker", "redis": "Redis", "rabbitmq": "RabbitMQ"}


def measurements(rig: Rig, options: Options) -> Iterator[Measurement]:
    runs = options.sized(6000, 300)
    for kind, wants in (("OnSession", {"redis": 2, "rabbitmq": 1.3}), ("OnConnection", {"redis": 3, "rabbitmq": 2})):
        for broker, wanted in wants.items():
            what = f"handlers on a {kind.removeprefix('On')}, {NAMES[broker]}"
            yield _against(rig, 4, what, kind, (broker, runs), (broker, runs), wanted)
    for broker, wanted in (("redis", 2), ("rabbitmq", 1)):
        what = f"handlers that do nothing, {NAMES[broker]}"
        yield _against(rig, 5, what, "Silent", (broker, runs), (broker, runs), wanted)
    what = "handlers on a Connection, Postgres without a broker; plain Celery on Redis"
    yield _against(rig, 6, what, "OnConnection", ("", runs), ("redis", runs), 3)
    silent = {"BENCH_TASK_EVENTS": "off"}
    yield Measurement(
        4, "task events off",
        {"off": partial(drain, rig, "redis", "ours", "OnConnection", runs, settings=silent),
         "on": partial(drain, rig, "redis", "ours", "OnConnection", runs)},
        [Goal("handlers on a Connection, Redis: task events off, and so no Flower", "runs/s", "off", "on",
              against="with task events")],
    )  # fmt: skip
    many = options.sized(30_000, 1500)
    yield Measurement(
        7, "batch handlers",
        {"ours": partial(drain, rig, "redis", "ours", "Batched", many),
         "plain": partial(drain, rig, "redis", "plain", "OnConnection", runs)},
        [Goal("batch handlers, a row an event, Redis", "runs/s", "ours", "plain", at_least=10, against="plain Celery")],
    )  # fmt: skip


def _against(
    rig: Rig, target: int, what: str, kind: str, ours: tuple[str, int], plain: tuple[str, int], wanted: float
) -> Measurement:
    sides = {
        "ours": partial(drain, rig, ours[0], "ours", kind, ours[1]),
        "plain": partial(drain, rig, plain[0], "plain", kind, plain[1]),
    }
    against = "plain Celery" if ours[0] == plain[0] else f"plain Celery on {NAMES[plain[0]]}"
    chart = NAMES[ours[0]] if kind == "OnConnection" else ""
    goal = Goal(what, "runs/s", "ours", "plain", at_least=wanted, chart=chart, against=against)
    return Measurement(target, what, sides, [goal])


def drain(
    rig: Rig, broker: str, side: str, kind: str, runs: int, template: str = EMPTY,
    settings: Mapping[str, str] = NO_SETTINGS,
) -> float:  # fmt: skip
    """Handler runs a second of a worker that finds so many waiting: events in the ledger, or messages in the queue."""
    with rig.bed(broker, template) as bed:
        bed.settings |= settings
        return drained(bed, side, kind, runs)


def drained(bed: Bed, side: str, kind: str, runs: int) -> float:
    """The same in a bed that has no effects yet; the worker ends afterwards."""
    events = runs // COPIES
    expected = events * COPIES
    bed.python("-m", "rigs.bench.prefill", side, kind, str(events))
    bed.settle()
    worker = bed.worker(APPS[side])
    what = f"{side}, {kind}"
    if kind == "Silent":
        bed.until(bed.noted, expected, what)
        times = [at for _, at in records.read(bed.records)]
    else:
        bed.until(lambda: bed.number(EFFECTS), expected, what, every=0.25)
        if side == "ours":
            _check_once(bed, names(kind), expected)
        times = [float(row[0]) for row in bed.rows(TIMES)]
    bed.end(worker)
    return rate(times)


def rate(times: Sequence[float]) -> float:
    """A second, once it is warm."""
    begun = int(len(times) * WARM_UP)
    return (len(times) - 1 - begun) / (times[-1] - times[begun])


def _check_once(bed: Bed, handlers: list[str], expected: int) -> None:
    bed.until(lambda: -bed.number(f"SELECT {_UNFINISHED}", handlers=handlers), 0, "the last outcomes")
    found, distinct = bed.rows(_ONCE)[0]
    if not found == distinct == expected:
        raise Failed(f"not exactly once: {expected:,} expected, {found:,} effects of {distinct:,} deliveries")
