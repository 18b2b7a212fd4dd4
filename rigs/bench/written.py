"""What a run leaves for readers: a Markdown table, and a chart for those who only look."""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rigs.bench.chart import drawn
from rigs.bench.facts import Facts
from rigs.bench.figures import Result
from rigs.bench.options import Options
from rigs.bench.report import judged, shown
from rigs.bench.rivals.known import OURS, PLAIN_CELERY

REASON = 200  # characters


def write(folder: Path, results: Sequence[Result], options: Options, facts: Facts) -> None:
    """bench.md and bench.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.md").write_text(markdown(results, options, facts), "utf-8")
    (folder / "bench.svg").write_text(drawn(results), "utf-8")


def markdown(results: Sequence[Result], options: Options, facts: Facts) -> str:
    runs = f"{options.runs} run{'s' if options.runs > 1 else ''}"
    sizes = "" if options.scale == 1 else f", sizes x {options.scale:g}: a trial, whose figures prove nothing"
    lines = [
        "# Benchmark",
        "",
        f"Medians of {runs} of each side, taken in turn{sizes}; of targets 13 and 15 one run. The ratios are the "
        "point; the rates are this machine's own.",
        "",
        "![Deliveries a second](bench.svg)",
        "",
        *_targets([result for result in results if result.target]),
        *_rivals([result for result in results if result.guarantee]),
        "## On what",
        "",
        *(f"- {name}: {value}" for name, value in facts.machine.items()),
        f"- versions: {', '.join(f'{name} {value}' for name, value in facts.versions.items())}",
        f"- date: {time.strftime('%Y-%m-%d')}",
        f"- command: `{options.command}`",
    ]
    return "\n".join(lines) + "\n"


def _targets(results: Sequence[Result]) -> Iterator[str]:
    rows = (
        (str(result.target), result.what, shown(result.ours), shown(result.baseline), result.against, result.unit,
         judged(result), result.wanted, _met(result))
        for result in results
    )  # fmt: skip
    head = ("target", "what", "ours", "baseline", "which is", "unit", "ratio", "wanted", "met")
    yield from _table(head, "llrrllrrl", rows)


def _rivals(results: Sequence[Result]) -> Iterator[str]:
    if not results:
        return
    yield "## Other libraries"
    yield ""
    yield (
        "The same work: each task writes one row into the same Postgres. Theirs do it with the bare driver, each in a "
        "transaction of its own; ours may share a transaction with others of its handler that wait."
    )
    yield ""
    rows = (
        (result.against, result.chart, _figure(result), shown(result.ours), judged(result), result.settings,
         result.guarantee)
        for result in results
    )  # fmt: skip
    yield from _table(
        ("library", "on", "its runs/s", "ours", "ratio", "its settings", "what it promises"), "llrrrll", rows
    )
    yield f"What ours promises: {OURS}."
    yield ""
    yield f"What the baseline promises: {PLAIN_CELERY}."
    yield ""


def _table(head: Sequence[str], sides: str, rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """`sides`: l or r for each column."""
    yield _row(head)
    yield _row(["--:" if side == "r" else "---" for side in sides])
    yield from map(_row, rows)
    yield ""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"


def _figure(result: Result) -> str:
    return _missing(result) or shown(result.baseline)


def _met(result: Result) -> str:
    if missing := _missing(result):
        return missing
    return "" if result.ok is None else "yes" if result.ok else "**no**"


def _missing(result: Result) -> str:
    if not result.reason:
        return ""
    return f"{'**failed**' if result.failed else 'not measured'}: {result.reason.splitlines()[0][:REASON]}"
