"""The steps of a run: measure each side in turn, judge, show."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from rigs.bench.facts import Facts, gathered
from rigs.bench.figures import Measurement, NotMeasured, Result, judge
from rigs.bench.options import Options, parse
from rigs.bench.quick import ENDED_WITHIN, Once, chosen, left_out
from rigs.bench.report import as_json, show, shown
from rigs.bench.rig import Rig
from rigs.bench.written import write
from rigs.chaos.machines import SERVERS
from rigs.demo.options import ALIASES, PREFIXES


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
    facts = Facts({}, {})
    try:
        with Rig(folder, lambda line: console.print(escape(line), highlight=False, soft_wrap=True)) as rig:
            results.extend(_run(rig, options))
            facts = gathered(rig.versions())
    finally:
        kept = options.keep or any(result.failed for result in results)
        _clean_up(folder, logs_too=not kept)
    results.sort(key=lambda result: result.place)
    show(console, results, options)
    if options.json:
        print(json.dumps(as_json(results, options), indent=2))
    if options.write:
        write(options.write, results, options, facts)
        console.print(f"Written to {options.write}", highlight=False, soft_wrap=True)
    if kept:
        console.print(f"The logs are in {folder}", highlight=False, soft_wrap=True)
    return exit_code(results, options)


def exit_code(results: Sequence[Result], options: Options) -> int:
    """Figures as small as those of --quick prove nothing: only that they could be had counts."""
    return 1 if any(result.failed if options.quick else result.is_bad for result in results) else 0


def _clean_up(folder: Path, *, logs_too: bool) -> None:
    """The servers' data is gigabytes, and says nothing to anybody."""
    if logs_too:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for found in folder.glob("*/*"):
        if found.parent.name in SERVERS and found.is_dir():
            shutil.rmtree(found, ignore_errors=True)


def asked_for(rig: Rig, options: Options) -> Iterator[Measurement]:
    """All that these options name, whether --quick has the time for it or not."""
    from rigs.bench import (
        aged,
        awaiting,
        bridging,
        children,
        draining,
        flat,
        held,
        idle,
        latency,
        outbox,
        publishing,
        relaying,
        writes,
    )
    from rigs.bench.rivals import measuring

    for family in (
        publishing,
        relaying,
        draining,
        measuring,
        latency,
        idle,
        flat,
        bridging,
        writes,
        held,
        children,
        aged,
        awaiting,
        outbox,
    ):
        for measurement in family.measurements(rig, options):
            if options.rivals if measurement.target is None else measurement.target in options.targets:
                yield measurement


def _run(rig: Rig, options: Options) -> Iterator[Result]:
    if not options.quick:
        for measurement in asked_for(rig, options):
            yield from measured(measurement, rig, options)
        return
    begun, longest, once = time.monotonic(), 0.0, Once()
    short, out = chosen(list(asked_for(rig, options)))
    done: list[Measurement] = []
    for measurement in short:
        now = time.monotonic()
        if now - begun + longest > ENDED_WITHIN:
            out.append(measurement)
            continue
        done.append(measurement)
        yield from measured(once.of(measurement), rig, options)
        longest = max(longest, time.monotonic() - now)
    rig.say(left_out(out, done))


def measured(measurement: Measurement, rig: Rig, options: Options) -> list[Result]:
    """Run by run, side by side; the first thing that goes wrong ends this measurement and no other."""
    samples: dict[str, list[float]] = {}
    units = {goal.unit for goal in measurement.goals}
    unit = f" {units.pop()}" if len(units) == 1 else ""
    target = f"target {measurement.target}, " if measurement.target else ""
    runs = 1 if measurement.once else options.runs
    for run in range(runs):
        for side, measure in measurement.sides.items():
            begin = f"{target}{measurement.name}, run {run + 1}/{runs}, {side}: "
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
