"""`events handlers`: which there are and where they run; pause, resume, retire."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, TypeVar

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from events.cli import completion, confirming, filters
from events.cli.help_pages import App
from events.cli.output import AsJson, console, hint, print_json, print_table, remark, say, shown_time
from events.ledger import HandlerMetrics, State, retire_command
from events.pipeline import get_pipeline

app = App(help="Handlers: list, pause, resume, retire.")

Answer = TypeVar("Answer")
Name = Annotated[
    str,
    typer.Argument(
        metavar="HANDLER", help="The handler's name.", show_default=False, autocompletion=completion.handlers
    ),
]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Every handler that is subscribed: its events and queue, how many workers have it, what waits for it.

    Example: events handlers list
    """
    found = get_pipeline().upkeep.handlers()
    if as_json:
        print_json([as_dict(one) for one in found])
        return
    if not found:
        remark(
            "no handler is subscribed; workers subscribe those of EVENTS_HANDLERS "
            f"({', '.join(get_pipeline().settings.handlers)}) when they start"
        )
    rows = [
        [one.handler, list(one.event_types), one.queue or "(gone)", one.workers, _pace(one), one.waiting,
         one.deliveries.get(State.RUNNING, 0), one.dead, _switch(one)]
        for one in found
    ]  # fmt: skip
    columns = ["handler", "events", "queue", "workers", "takes", "waiting", "running", "dead", "state"]
    numbers = ["workers", "takes", "waiting", "running", "dead"]
    print_table("Handlers", columns, rows, right=numbers, texts=["events", "state"])
    for line in (line for one in found for line in orphaned(one)):
        remark(line)
    if found:
        hint("next: events handlers pause HANDLER | events dead list --handler HANDLER")


@app.command()
def pause(handler: Name, actor: filters.Actor = None) -> None:
    """Start none of its deliveries any more; what runs may finish. Nothing is lost: all of them wait, with new ones.

    Example: events handlers pause notify_followers
    """
    upkeep = get_pipeline().upkeep
    changed = _with_spinner("holding back", lambda told: upkeep.pause(handler, actor or filters.actor(), told))
    said = f"{handler} is paused" if changed else f"{handler} was paused already"
    runs = upkeep.running(handler)
    say(said + (f"; {runs:,} deliveries that run may finish" if runs else ""))


@app.command()
def resume(handler: Name, actor: filters.Actor = None) -> None:
    """Its deliveries run again, those that waited and new ones.

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
            help="Only of this event type; it keeps the others.",
            autocompletion=completion.event_types,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    yes: confirming.Yes = False,
    actor: filters.Actor = None,
) -> None:
    """Of a handler that no code has any more: it gets no more events, and what waits for it is discarded.

    Refused while a living worker has it. Its dead letters stay. `events dead restore --handler HANDLER --all` takes the
    deliveries back, as dead letters. Code that has it again subscribes it again. Asks on a terminal if something waits.

    Example: events handlers retire old_feed --dry-run
    """
    upkeep = get_pipeline().upkeep
    if dry_run:
        say(f"{upkeep.would_drop(handler, event):,} deliveries would be discarded")
        return
    if not yes and confirming.can_ask() and (waiting := upkeep.would_drop(handler, event)):
        confirming.confirm(f"Retire {handler}, and discard {waiting:,} deliveries that wait for it?", yes=yes)
    count = _with_spinner(
        "discarding", lambda told: upkeep.retire(handler, actor or filters.actor(), told, event_type=event)
    )
    what = handler if event is None else f"{handler} for {event}"
    say(f"{what} is retired, {count:,} deliveries discarded")


def orphaned(one: HandlerMetrics) -> list[str]:
    """A line for each event type of it that no living worker has, with the cure."""
    return [
        f"no living worker has {one.handler} for {orphan.event_type or 'some event'}"
        + (f", since {shown_time(orphan.since)}" if orphan.since else "")
        + f": {orphan.waiting:,} deliveries wait; start one, or: {retire_command(one, orphan)}"
        for orphan in one.orphans
    ]


def as_dict(one: HandlerMetrics) -> dict[str, object]:
    """For scripts."""
    return {
        "handler": one.handler,
        "queue": one.queue,
        "event_types": list(one.event_types),
        "paused": one.paused,
        "changed_by": one.changed_by,
        "changed_at": one.changed_at,
        "workers": one.workers,
        "seconds": one.seconds,
        "waiting": one.waiting,
        "dead": one.dead,
        "errors": one.error_count,
        "deliveries": dict(one.deliveries),
        "rates": dict(one.rates),
        "orphans": [asdict(orphan) for orphan in one.orphans],
    }


def _with_spinner(what: str, act: Callable[[Callable[[int], None]], Answer]) -> Answer:
    bar = (SpinnerColumn(), TextColumn("{task.description}"))
    with Progress(*bar, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        return act(lambda done: progress.update(task, description=f"{what}: {done:,}"))


def _pace(one: HandlerMetrics) -> str:
    return "" if one.seconds is None else f"{one.seconds * 1000:,.1f} ms"


def _switch(one: HandlerMetrics) -> str:
    if one.paused:
        return f"paused by {one.changed_by}, {shown_time(one.changed_at)}"
    return "" if one.workers or not one.queue else "runs nowhere"
