"""The steps of a run: measure each side in turn, judge, show."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from _chaos.machines import SERVERS
from _demo.options import ALIASES, PREFIXES
from rich.console import Console
from rich.markup import escape

from _bench.figures import Measurement, NotMeasured, Result, judge
from _bench.options import Options, parse
from _bench.report import as_json, show, shown
from _bench.rig import Rig


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    for name in [name for name in os.environ if name.startswith(PREFIXES) or name in ALIASES]:
        del os.environ[name]  # a developer's own settings and servers are not what is measured
    console = Console(stderr=options.json)
    if not console.is_terminal:
        console.width = 140  # a log has no width, and the table should be readable in one
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user
    results: list[Result] = []
    try:
        with Rig(folder, lambda line: console.print(escape(line), highlight=False, soft_wrap=True)) as rig:
            for measurement in _chosen(rig, options):
                results += _measure(measurement, rig, options)
    finally:
        kept = options.keep or any(result.failed for result in results)
        _clean_up(folder, logs_too=not kept)
    results.sort(key=lambda result: result.target)
    show(console, results, options)
    if options.json:
        print(json.dumps(as_json(results, options), indent=2))
    if kept:
        console.print(f"The logs are in {folder}", highlight=False, soft_wrap=True)
    return 1 if any(result.is_bad for result in results) else 0


def _clean_up(folder: Path, *, logs_too: bool) -> None:
    """The servers' data is gigabytes, and says nothing to anybody."""
    if logs_too:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for found in folder.glob("*/*"):
        if found.parent.name in SERVERS and found.is_dir():
            shutil.rmtree(found, ignore_errors=True)


def _chosen(rig: Rig, options: Options) -> Iterator[Measurement]:
    from _bench import draining, flat, idle, latency, publishing, relaying, rival

    for family in (publishing, relaying, draining, rival, latency, idle, flat):
        for measurement in family.measurements(rig, options):
            if measurement.target in options.targets:
                yield measurement


def _measure(measurement: Measurement, rig: Rig, options: Options) -> list[Result]:
    """Run by run, side by side; the first thing that goes wrong ends this measurement and no other."""
    samples: dict[str, list[float]] = {}
    units = {goal.unit for goal in measurement.goals}
    unit = f" {units.pop()}" if len(units) == 1 else ""
    for run in range(options.runs):
        for side, measure in measurement.sides.items():
            begin = f"target {measurement.target}, {measurement.name}, run {run + 1}/{options.runs}, {side}: "
            try:
                found = measure()
            except NotMeasured as reason:
                rig.say(f"{begin}not measured: {reason}")
                return judge(measurement, samples, str(reason), failed=False)
            except Exception as error:
                reason = str(error) or type(error).__name__
                rig.say(f"{begin}FAILED: {reason}")
                return judge(measurement, samples, reason, failed=True)
            figures = found if isinstance(found, Mapping) else {"": found}
            for name, value in figures.items():
                samples.setdefault(f"{side} {name}".strip(), []).append(value)
            rig.say(begin + ", ".join(f"{name} {shown(value)}".strip() for name, value in figures.items()) + unit)
    return judge(measurement, samples, "", failed=False)
