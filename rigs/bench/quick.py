"""What --quick measures: the most telling first, until its time is up; and each side once, whoever compares with it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from rigs.bench.figures import Measurement, Side

ENDED_WITHIN = 54.0  # seconds; what takes as long as the longest so far, and would not end by then, is not begun
# By target and the beginning of the name. Targets 9, 10, 14 and 15 wait for long, or fill millions of rows first.
ORDER = (
    (1, "publish in a business transaction"),
    (2, "publish on its own"),
    (4, "handlers on a Connection, Redis"),
    (7, "batch handlers"),
    (6, "handlers on a Connection, Postgres without a broker; plain"),
    (6, "handlers on a Connection, Postgres without a broker; pgqueuer"),
    (3, "relay to Redis"),
    (8, "commit to start at 100 events/s, Redis"),
    (5, "handlers that do nothing, Redis"),
    (6, "handlers on a Connection, Redis; dramatiq"),
    (6, "handlers on a Connection, Postgres without a broker; procrastinate"),
    (4, "handlers on a Connection, RabbitMQ"),
    (3, "relay to RabbitMQ"),
)


def chosen(measurements: Sequence[Measurement]) -> tuple[list[Measurement], list[Measurement]]:
    """Those that are short, in the order of ORDER, and those that are not."""
    places = {id(one): _place(one) for one in measurements}
    short = [one for one in measurements if places[id(one)] < len(ORDER)]
    return sorted(short, key=lambda one: places[id(one)]), [one for one in measurements if one not in short]


def _place(measurement: Measurement) -> int:
    for place, (target, begin) in enumerate(ORDER):
        if measurement.target == target and measurement.name.startswith(begin):
            return place
    return len(ORDER)


def left_out(out: Sequence[Measurement], measured: Sequence[Measurement]) -> str:
    """One line: targets of which nothing was measured, targets of which something was, and other libraries."""
    begun = {one.target for one in measured}
    targets = sorted({one.target for one in out if one.target})
    whole = ", ".join(str(target) for target in targets if target not in begun)
    parts = ", ".join(str(target) for target in targets if target in begun)
    rivals = ", ".join(f"{one.goals[0].against} on {one.goals[0].chart}" for one in out if one.target is None)
    named = [
        *([f"targets {whole}"] if whole else []),
        *([f"a part of {parts}"] if parts else []),
        *([rivals] if rivals else []),
    ]
    return f"--quick left out {'; '.join(named) or 'nothing'}. Its figures are a trial and prove nothing."


class Once:
    """Wraps sides so that equal ones are measured once: plain Celery on Redis is the baseline of several targets."""

    def __init__(self) -> None:
        self._found: dict[object, float | Mapping[str, float]] = {}

    def __call__(self, side: Side) -> Side:
        if not isinstance(side, partial):
            return side
        key = (side.func, side.args, *sorted(side.keywords.items()))
        return lambda: self._measured(key, side)

    def of(self, measurement: Measurement) -> Measurement:
        sides: dict[str, Callable[[], float | Mapping[str, float]]] = {
            name: self(side) for name, side in measurement.sides.items()
        }
        return Measurement(measurement.target, measurement.name, sides, measurement.goals)

    def _measured(self, key: object, side: Side) -> float | Mapping[str, float]:
        if key not in self._found:
            self._found[key] = side()
        return self._found[key]
