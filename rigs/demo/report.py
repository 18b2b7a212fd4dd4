"""The end of the demo: tables for people, figures for programs, commands to go on with."""

import importlib
import inspect
import os
import shlex
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import make_url

from rigs.demo.cards import Shelf
from rigs.demo.checks import Check, check_all
from rigs.demo.ledger import HANDLERS, DeadGroup, Ledger
from rigs.demo.options import ROOT, Options
from rigs.demo.watching import Crash

PASSWORD = "YOUR_PASSWORD"


@dataclass(frozen=True)
class Report:
    """The figures of a finished run."""

    run: str
    events: int
    deliveries: dict[str, dict[str, int]]
    started_again: int
    latency_ms: dict[str, float]
    seconds: float
    deliveries_per_second: float
    feed_items: int
    notifications: int
    crash: Crash | None
    dead: list[DeadGroup]
    checks: list[Check]

    @property
    def ok(self) -> bool:
        return all(check.holds for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        figures = asdict(self)
        for group in figures["dead"]:
            group["event_id"] = str(group["event_id"])
        for check, shown in zip(self.checks, figures["checks"], strict=True):
            shown["holds"] = check.holds
        return figures | {"ok": self.ok}


def make_report(run: str, shelf: Shelf, ledger: Ledger, seconds: float, crash: Crash | None) -> Report:
    deliveries: dict[str, dict[str, int]] = {handler: {} for handler in HANDLERS}
    for (handler, state), count in sorted(ledger.states().items()):
        deliveries[handler][state] = count
    waits = [
        max(0.0, (at - shelf.committed[event_id]).total_seconds() * 1000) for event_id, at in ledger.first_starts()
    ]
    cuts = statistics.quantiles(waits, n=100, method="inclusive") if len(waits) > 1 else waits * 99 or [0.0] * 99
    total = sum(sum(states.values()) for states in deliveries.values())
    return Report(
        run=run,
        events=len(shelf.committed),
        deliveries=deliveries,
        started_again=sum(count for attempts, count in ledger.attempts().items() if attempts > 1),
        latency_ms={"p50": round(cuts[49], 1), "p99": round(cuts[98], 1)},
        seconds=round(seconds, 2),
        deliveries_per_second=round(total / seconds, 1),
        feed_items=ledger.feed_items(),
        notifications=ledger.notifications(),
        crash=crash,
        dead=ledger.dead(),
        checks=check_all(shelf, ledger) + (crash.checks(ledger) if crash else []),
    )


def show(console: Console, report: Report) -> None:
    _show_deliveries(console, report)
    if report.dead:
        _show_dead(console, report.dead)
    console.print("\n[bold]Checked[/bold]")
    for check in report.checks:
        mark = "[green]yes[/green]" if check.holds else "[red]NO [/red]"
        console.print(f"  {mark} {check.claim}: {_shown(check.found)}", highlight=False)
        if not check.holds:
            console.print(f"      [red]it should be {_shown(check.wanted)}[/red]", highlight=False)


def _show_deliveries(console: Console, report: Report) -> None:
    states = sorted({state for found in report.deliveries.values() for state in found}, reverse=True)
    table = Table(title="Deliveries", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("handler")
    for state in states:
        table.add_column(state, justify="right")
    for handler, found in report.deliveries.items():
        table.add_row(handler, *(f"{found.get(state, 0):,}" for state in states))
    console.print()
    console.print(table)
    total = sum(sum(found.values()) for found in report.deliveries.values())
    console.print(
        f"\n{report.events:,} events, {total:,} deliveries in {report.seconds:.1f} s: "
        f"{report.deliveries_per_second:,.0f} deliveries/s. From commit to start of the handler, waiting in line "
        f"included: p50 {report.latency_ms['p50']:,.0f} ms, p99 {report.latency_ms['p99']:,.0f} ms. "
        f"{report.feed_items:,} feed items and {report.notifications:,} notifications were written.",
        highlight=False,
    )


def _show_dead(console: Console, groups: Sequence[DeadGroup]) -> None:
    console.print("\n[bold]Dead letters[/bold]: what a handler can't take is kept, with its reason, until you decide.")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    table.add_column("handler, error", no_wrap=True)
    table.add_column("count", justify="right")
    table.add_column("an example, and why")
    for group in groups:
        text = Text.assemble(group.error, "\n", (meaning(group.error_type), "italic"))
        table.add_row(f"{group.handler}\n{group.error_name}", f"{group.count:,}", text)
    console.print(table)


def show_commands(console: Console, options: Options, dead: Sequence[DeadGroup]) -> None:
    """Commands that work as they are printed; never with a password in them."""
    lines = [] if Path.cwd() == ROOT else [f"cd {shlex.quote(str(ROOT))}"]
    for name, value in options.settings.items():
        if "://" in value and not value.startswith("sqlite"):
            url = make_url(value)
            value = (url.set(password=PASSWORD) if url.password else url).render_as_string(hide_password=False)
        lines.append(f"export {name}={shlex.quote(value)}")
    folder = Path(sys.executable).parent
    command = f"{folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder}{os.sep}"
    lines.append(f"{command}events status")
    if dead:
        lines.append(f"{command}events dead list")
        lines.append(f"{command}events dead show {dead[0].event_id} {dead[0].handler}")
        lines.append(f"{command}events dead replay --all   # then, to handle them again:")
    lines.append(f"{command}celery -A events worker")
    console.print("\n[bold]Next[/bold], with this run's data:")
    for line in lines:  # never wrapped: a command broken in two can't be copied
        console.print(f"  {line}", soft_wrap=True, markup=False, highlight=False)


def meaning(error_type: str) -> str:
    """What the handlers say about an error of theirs: the first paragraph of its docstring."""
    module, _, name = error_type.rpartition(".")
    if module.startswith("handlers."):
        text = inspect.getdoc(getattr(importlib.import_module(module), name))
        return " ".join((text or "").split("\n\n")[0].split())
    return "Not a rule of the handlers: this should not happen."


def _shown(value: object) -> str:
    if isinstance(value, (dict, Counter)):
        return ", ".join(f"{key} {count:,}" for key, count in sorted(value.items())) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
