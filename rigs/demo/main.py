"""The steps of the demo."""

import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from rigs.demo.options import Options, parse
from rigs.demo.worker import Process, start_worker

MIGRATES_WITHIN = 60.0
READY_WITHIN = 30.0


def main(arguments: Sequence[str]) -> int:
    """Run the demo; the exit status."""
    options = parse(arguments)
    console = Console(stderr=options.json)
    # These read the settings when they are imported or first used, which parse() has just put in order.
    from events import EventsError
    from rigs.demo.watching import DemoFailed

    try:
        with ExitStack() as cleanup:
            return _run(options, console, cleanup)
    except (DemoFailed, EventsError) as error:
        console.print(f"\n[red]Failed:[/red] {escape(str(error))}", highlight=False)
        console.print(f"What the worker printed is in {_log(options)}", soft_wrap=True, highlight=False)
        return 1
    except BrokenPipeError:  # whoever read our output has enough of it
        sys.stderr.close()
        return 1


def _run(options: Options, console: Console, cleanup: ExitStack) -> int:
    _migrate(options, console)
    from events import get_engine
    from rigs.demo.broker import remove_queues
    from rigs.demo.cards import stock
    from rigs.demo.ledger import Ledger
    from rigs.demo.report import make_report, show, show_commands
    from rigs.demo.watching import Show

    cleanup.callback(remove_queues, options.environment)

    def start() -> Process:
        return cleanup.enter_context(start_worker(f"demo-{options.run}", options.environment, _log(options)))

    console.print("[bold]2[/bold]  a Celery worker with two processes: celery -A events worker -c 2", highlight=False)
    begun = time.monotonic()
    worker = start()
    _wait_ready(worker)
    _done(console, begun, f"process group {worker.group}")

    engine = get_engine()
    shelf = stock(engine, options.cards)
    ledger = Ledger(engine, shelf.libraries.values())
    console.print(
        f"[bold]3[/bold]  {len(shelf.rows):,} cards into {len(shelf.libraries)} libraries, each in a transaction of "
        f"its own with its event",
        highlight=False,
    )
    watching = Show(console, engine, shelf, ledger, start, options.kill_worker)
    seconds = watching.run(worker)
    _done(console, time.monotonic() - seconds, "every delivery has an outcome")

    report = make_report(options.run, shelf, ledger, seconds, watching.crash)
    show(console, report)
    show_commands(console, options, report.dead)
    if options.json:
        print(json.dumps(report.as_json(), indent=2, default=str))
    if not report.ok:
        console.print("\n[red]Failed:[/red] a claim above does not hold.")
    return 0 if report.ok else 1


def _migrate(options: Options, console: Console) -> None:
    from rigs.demo.watching import DemoFailed

    console.print("[bold]1[/bold]  the tables: events migrate", highlight=False)
    begun = time.monotonic()
    with Process(["-m", "events", "migrate"], options.environment, _log(options)) as migrate:
        status = migrate.wait(MIGRATES_WITHIN)
        if status != 0:
            why = f"ended with status {status}" if status is not None else f"took over {MIGRATES_WITHIN:.0f} s"
            raise DemoFailed(f"`events migrate` {why}:\n{migrate.last_lines()}")
    _done(console, begun)


def _wait_ready(worker: Process) -> None:
    """A worker that is ready has told the ledger which handlers it has."""
    from events.current_pipeline import get_pipeline
    from rigs.demo.watching import DemoFailed

    subscriptions = get_pipeline().ledger.subscriptions
    deadline = time.monotonic() + READY_WITHIN
    while not subscriptions.paces():
        if worker.ended or time.monotonic() > deadline:
            why = "ended at its start" if worker.ended else f"isn't ready after {READY_WITHIN:.0f} s"
            raise DemoFailed(f"the worker {why}; its last lines:\n{worker.last_lines()}")
        time.sleep(0.05)


def _log(options: Options) -> Path:
    return options.folder / "worker.log"


def _done(console: Console, begun: float, more: str = "") -> None:
    text = f"    done in {time.monotonic() - begun:.1f} s" + (f", {more}" if more else "")
    console.print(f"[dim]{text}[/dim]", highlight=False)
