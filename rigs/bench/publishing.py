"""Targets 1 and 2: what publishing costs."""

from collections.abc import Iterator, Mapping

from rigs.bench.figures import Goal, Measurement
from rigs.bench.options import Options
from rigs.bench.rig import Rig


def measurements(rig: Rig, options: Options) -> Iterator[Measurement]:
    def transactions() -> Mapping[str, float]:
        return _rates(rig, "", "transactions", options.sized(2000, 100))

    def calls() -> Mapping[str, float]:
        return _rates(rig, "redis", "calls", options.sized(2000, 100))

    # One process takes both sides in turn, block by block: they are too near to each other for anything coarser.
    yield Measurement(1, "publish in a business transaction", {"run": transactions}, [
        Goal("publish in a business transaction, Connection", "transactions/s", "run connection ours",
             "run connection baseline", at_least=0.8, against="without the event"),
        Goal("publish in a business transaction, Session", "transactions/s", "run session ours",
             "run session baseline", against="without the event"),
    ])  # fmt: skip
    yield Measurement(2, "publish on its own", {"run": calls}, [
        Goal("publish of 100 events at once", "events/s", "run at once", "run celery", at_least=20,
             against="plain Celery, a task a handler"),
        Goal("publish of one event", "events/s", "run one", "run celery", at_least=2.5,
             against="plain Celery, a task a handler"),
    ])  # fmt: skip


def _rates(rig: Rig, broker: str, what: str, count: int) -> Mapping[str, float]:
    with rig.bed(broker) as bed:
        bed.settle()
        found: dict[str, float] = bed.figures("-m", "rigs.bench.rates", what, str(count))
        return found
