"""Target 17: plain tasks through the outbox, and by plain Celery: until they are committed, and until they have run."""

from collections.abc import Iterator, Mapping
from functools import partial

from rigs.bench import records
from rigs.bench.draining import NAMES
from rigs.bench.figures import Failed, Goal, Measurement
from rigs.bench.options import Options
from rigs.bench.outboxed import CONFIRMED, HAS_OUTBOX
from rigs.bench.rig import Rig


def measurements(rig: Rig, options: Options) -> Iterator[Measurement]:
    count = options.sized(6000, 300)
    for broker, confirmed in (("redis", False), ("rabbitmq", False), ("rabbitmq", True)):
        what = f"plain tasks through the outbox, {NAMES[broker]}"
        against = "plain delay(), confirmed" if confirmed else "plain delay()"
        settings = {CONFIRMED: "on" if confirmed else "off"}
        yield Measurement(17, f"{what}: sending", {"run": partial(_rates, rig, broker, settings, count)}, [
            Goal(f"{what}: 100 in a transaction, until it has committed", "tasks/s", "run ours", "run plain",
                 at_least=3, against=against),
        ])  # fmt: skip
        sides = {side: partial(_end_to_end, rig, broker, side, settings, count) for side in ("ours", "plain")}
        yield Measurement(17, f"{what}: to the end", sides, [
            Goal(f"{what}: until they have run", "tasks/s", "ours", "plain", at_least=1, against=against),
        ])  # fmt: skip


def _rates(rig: Rig, broker: str, settings: dict[str, str], count: int) -> Mapping[str, float]:
    with rig.bed(broker) as bed:
        bed.settings |= settings
        bed.settle()
        found: dict[str, float] = bed.figures("-m", "rigs.bench.delaying", "rate", str(count))
        return found


def _end_to_end(rig: Rig, broker: str, side: str, settings: dict[str, str], count: int) -> float:
    """Tasks a second, from the first delay() to the last run, of a worker with two children that is there already."""
    with rig.bed(broker) as bed:
        bed.settings |= settings | {HAS_OUTBOX: "on" if side == "ours" else "off"}
        bed.worker("rigs.bench.outboxed")
        bed.figures("-m", "rigs.bench.delaying", "send", "20")
        bed.until(bed.noted, 20, f"{side}: the worker is ready")
        bed.settle()
        begun = bed.figures("-m", "rigs.bench.delaying", "send", str(count))
        bed.until(bed.noted, 20 + count, side)
        runs = [number for number, at in records.read(bed.records) if at >= begun]
        if sorted(runs) != list(range(count)):
            raise Failed(f"{side}: {count:,} tasks sent, {len(runs):,} runs of {len(set(runs)):,} tasks")
        return count / (records.read(bed.records)[-1][1] - begun)
