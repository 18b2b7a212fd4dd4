"""`events unhandled`: events that wait for a handler, since no handler has subscribed to their type."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from events.cli import completion, confirming
from events.cli.help_pages import App
from events.cli.output import AsJson, console, hint, print_json, print_table, refused, remark, say, shown_time
from events.cli.prune import age
from events.current_pipeline import get_pipeline
from events.text import plural

app = App(help="Events that wait for a handler: list, drop.")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the event types to which no handler has subscribed: how many events of each type wait, and since when.

    The events wait for ever, and cost only disk space. When a worker subscribes a handler, it gets all of them.

    Example: events unhandled list
    """
    pipeline = get_pipeline()
    pipeline.check()
    types = pipeline.ledger.unhandled.types()
    if as_json:
        print_json([asdict(unhandled) for unhandled in types])
        return
    if not types:
        remark("no event waits for a handler")
    rows = [[unhandled.event_type, unhandled.count, shown_time(unhandled.oldest)] for unhandled in types]
    print_table("Events that wait for a handler", ["event", "waiting", "oldest (UTC)"], rows, right=["waiting"])
    if types:
        hint("next: events unhandled drop EVENT --dry-run")


@app.command()
def drop(
    types: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="EVENT", help="Event types.", show_default=False, autocompletion=completion.unhandled_types
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All types to which no handler has subscribed.")] = False,
    older_than: Annotated[
        timedelta | None, typer.Option(parser=age, metavar="AGE", help="Only events of at least this age, such as 30d.")
    ] = None,
    batch: Annotated[
        int, typer.Option(min=1, max=10_000, metavar="N", help="How many events one transaction deletes.")
    ] = 1000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the events, and delete none.")] = False,
    yes: confirming.Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete events that wait for a handler, for good: by type, or --all.

    Events that were fanned out stay, and events to whose type a handler subscribes meanwhile. Ctrl-C stops the command
    between two transactions.

    Example: events unhandled drop PageViewed --older-than 30d
    """
    if bool(types) == everything:
        raise refused("say which event types: `events unhandled drop EVENT...`, or `events unhandled drop --all`")
    pipeline = get_pipeline()
    pipeline.check()
    unhandled = pipeline.ledger.unhandled
    known = [waiting.event_type for waiting in unhandled.types()]
    chosen = known if everything else list(dict.fromkeys(types or ()))
    if unknown := [name for name in chosen if name not in known]:
        raise refused(
            f"no event of type {', '.join(unknown)} waits for a handler; `events unhandled list` shows the types"
        )
    least = older_than or timedelta(0)
    total = unhandled.count(chosen, least)
    if dry_run:
        if as_json:
            print_json({"dry_run": True, "events": total, "types": chosen})
        else:
            say(f"{plural(total, 'event')} would be deleted")
        return
    if total:
        confirming.confirm(
            f"Delete {plural(total, 'event')} of type {', '.join(chosen)} for good?", yes=yes, needed=True
        )
    done, bar = 0, (TextColumn("deleting"), BarColumn(), MofNCompleteColumn())
    with Progress(*bar, console=console, transient=True, disable=as_json or not console.is_terminal) as progress:
        task = progress.add_task("deleting", total=total)
        try:
            for count in unhandled.drop(chosen, least, batch):
                done += count
                progress.update(task, completed=done)
        except KeyboardInterrupt:
            typer.echo(f"stopped: {plural(done, 'event')} deleted, the others are unchanged", err=True)
            raise
    if as_json:
        print_json({"dry_run": False, "events": done, "types": chosen})
    else:
        say(f"{plural(done, 'event')} deleted")
