"""`events handlers`: list handlers and the workers that have them; pause, resume and retire a handler."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, TypeVar

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from events.cli import completion, confirming, filters
from events.cli.help_pages import App
from events.cli.output import AsJson, console, hint, print_json, print_table, remark, say, shown_time
from events.current_pipeline import get_pipeline
from events.ledger import HandlerMetrics, State, retire_command
from events.text import deliveries, deliveries_wait

app = App(help="Handlers: list, pause, resume, retire.")

COLUMNS = ["handler", "events", "queue", "workers", "takes", "waiting", "running", "dead", "state"]
NUMBERS = ["workers", "takes", "waiting", "running", "dead"]

Answer = TypeVar("Answer")
Name = Annotated[
    str,
    typer.Argument(
        metavar="HANDLER", help="The handler's name.", show_default=False, autocompletion=completion.handlers
    ),
]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the subscribed handlers: their events and queue, how many workers have them, how many deliveries wait.

    Example: events handlers list
    """
    handlers = get_pipeline().upkeep.handlers()
    if as_json:
        print_json([as_dict(handler) for handler in handlers])
        return
    if not handlers:
        remark(
            "no handler is subscribed; a worker subscribes the handlers of EVENTS_HANDLERS "
            f"({', '.join(get_pipeline().settings.handlers)}) when it starts"
        )
    print_table("Handlers", COLUMNS, map(_row, handlers), right=NUMBERS, texts=["events", "state"])
    for line in (line for handler in handlers for line in orphaned(handler)):
        remark(line)
    if handlers:
        hint("next: events handlers pause HANDLER | events dead list --handler HANDLER")


@app.command()
def pause(handler: Name, actor: filters.Actor = None) -> None:
    """Pause a handler: no worker starts a delivery for it until you resume it.

    Deliveries that run may finish. Nothing is lost: all other deliveries wait, and new ones wait with them.

    Example: events handlers pause notify_followers
    """
    upkeep, who = get_pipeline().upkeep, actor or filters.actor()
    changed = _with_spinner("holding deliveries back", lambda told: upkeep.pause(handler, who, told))
    outcome = f"{handler} is paused" if changed else f"{handler} was paused already"
    running = upkeep.running(handler)
    say(outcome + (f"; {deliveries(running)} still {'runs' if running == 1 else 'run'}" if running else ""))


@app.command()
def resume(handler: Name, actor: filters.Actor = None) -> None:
    """Resume a handler: the deliveries that waited run, and new ones.

    Example: events handlers resume notify_followers
    """
    changed = get_pipeline().upkeep.resume(handler, actor or filters.actor())
    say(f"{handler} is resumed" if changed else f"{handler} was not paused")


@app.command()
def retire(
    handler: Name,
    event: Annotated[
        str | None,
        typer.Option(
            "--event",
            metavar="EVENT",
            help="Retire the handler for this event type only.",
            autocompletion=completion.event_types,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the deliveries, and discard none.")] = False,
    yes: confirming.Yes = False,
    actor: filters.Actor = None,
) -> None:
    """Retire a handler that no code has any more: it gets no more events, and its waiting deliveries are discarded.

    The command refuses to retire a handler that a living worker has. Dead letters stay. `events dead restore --handler
    HANDLER --all` makes dead letters of the discarded deliveries. A worker whose code has the handler subscribes it
    again. On a terminal, the command asks first if deliveries wait.

    Example: events handlers retire old_feed --dry-run
    """
    upkeep = get_pipeline().upkeep
    if dry_run:
        say(f"{deliveries(upkeep.would_drop(handler, event))} would be discarded")
        return
    if not yes and confirming.can_ask() and (waiting := upkeep.would_drop(handler, event)):
        confirming.confirm(f"Retire {handler}, and discard its waiting deliveries ({waiting:,})?", yes=yes)
    count = _with_spinner(
        "discarding deliveries", lambda told: upkeep.retire(handler, actor or filters.actor(), told, event_type=event)
    )
    retired = handler if event is None else f"{handler} for {event}"
    say(f"{retired} is retired, {deliveries(count)} discarded")


def orphaned(handler: HandlerMetrics) -> list[str]:
    """A line, with the cure, for each event type of the handler that no living worker has."""
    return [
        f"no living worker has {handler.handler} for {orphan.event_type or 'some event'}"
        + (f", since {shown_time(orphan.since)}" if orphan.since else "")
        + f": {deliveries_wait(orphan.waiting)}; start a worker that has "
        f"the handler, or run: {retire_command(handler, orphan)}"
        for orphan in handler.orphans
    ]


def as_dict(handler: HandlerMetrics) -> dict[str, object]:
    """The numbers of a handler as JSON, for scripts."""
    return {
        "handler": handler.handler,
        "queue": handler.queue,
        "event_types": list(handler.event_types),
        "paused": handler.paused,
        "changed_by": handler.changed_by,
        "changed_at": handler.changed_at,
        "workers": handler.workers,
        "seconds": handler.seconds,
        "one_by_one": handler.one_by_one,
        "waiting": handler.waiting,
        "dead": handler.dead,
        "errors": handler.error_count,
        "deliveries": dict(handler.deliveries),
        "rates": dict(handler.rates),
        "orphans": [asdict(orphan) for orphan in handler.orphans],
    }


def _with_spinner(task_name: str, act: Callable[[Callable[[int], None]], Answer]) -> Answer:
    bar = (SpinnerColumn(), TextColumn("{task.description}"))
    with Progress(*bar, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(task_name, total=None)
        return act(lambda done: progress.update(task, description=f"{task_name}: {done:,}"))


def _pace(handler: HandlerMetrics) -> str:
    if handler.one_by_one:
        return "one by one"
    return "" if handler.seconds is None else f"{handler.seconds * 1000:,.1f} ms"


def _row(handler: HandlerMetrics) -> list[object]:
    """In the order of COLUMNS."""
    return [
        handler.handler,
        list(handler.event_types),
        handler.queue or "(gone)",
        handler.workers,
        _pace(handler),
        handler.waiting,
        handler.deliveries.get(State.RUNNING, 0),
        handler.dead,
        _state(handler),
    ]


def _state(handler: HandlerMetrics) -> str:
    if handler.paused:
        return f"paused by {handler.changed_by}, {shown_time(handler.changed_at)}"
    return "" if handler.workers or not handler.queue else "on no worker"
