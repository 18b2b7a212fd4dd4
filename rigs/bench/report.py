"""The end of a run: a table for people, a document for programs."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rigs.bench.figures import Result
from rigs.bench.options import Options

SHOWN = 2000  # characters of a reason


def show(console: Console, results: Sequence[Result], options: Options) -> None:
    scale = "" if options.scale == 1 else f", sizes x {options.scale:g}"
    title = f"Medians of {options.runs} run{'s' if options.runs > 1 else ''}{scale}"
    table = Table(title=title, title_justify="left")
    table.add_column("target", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("unit", no_wrap=True)
    for name in ("ours", "baseline", "ratio", "wanted"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for result in results:
        what = f"{result.what}\n({result.guarantee})" if result.guarantee else result.what
        table.add_row(
            str(result.target or ""), escape(what), result.unit, shown(result.ours), shown(result.baseline),
            judged(result), result.wanted, _verdict(result),
        )  # fmt: skip
    console.print(table)
    for reason in dict.fromkeys(f"{result.label}: {result.reason[:SHOWN]}" for result in results if result.reason):
        console.print(escape(reason), highlight=False)


def as_json(results: Sequence[Result], options: Options) -> dict[str, Any]:
    return {
        "runs": options.runs,
        "scale": options.scale,
        "quick": options.quick,
        "met": not any(result.is_bad for result in results),
        "results": [result.as_json() for result in results],
    }


def shown(value: float | None) -> str:
    """With as many digits as mean something."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def judged(result: Result) -> str:
    """The ratio or the difference; nothing if only the figure itself counts."""
    if result.judged is None or result.compare == "value":
        return ""
    return shown(result.judged) + ("x" if result.compare == "ratio" else "")


def _verdict(result: Result) -> str:
    if result.failed:
        return "[red]FAILED[/red]"
    if result.reason:
        return "[yellow]not measured[/yellow]"
    if result.ok is None:
        return ""
    return "[green]ok[/green]" if result.ok else "[red]BELOW[/red]"
