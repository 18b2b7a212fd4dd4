"""`events unhandled`: events that wait for a handler, since nobody has subscribed to their type."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from events.cli import completion, confirming
from events.cli.help_pages import App
from events.cli.output import AsJson, console, hint, print_json, print_table, refused, remark, say, shown_time
from events.cli.prune import age
from events.pipeline import get_pipeline

app = App(help="Events that wait for a handler: list, drop.")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Event types that no handler has subscribed to: how many events of each wait, and since when.

    They wait for ever and cost nothing but room. A worker that has a handler for them gets all of them.

    Example: events unhandled list
    """
    pipeline = get_pipeline()
    pipeline.check()
    found = pipeline.ledger.unhandled.types()
    if as_json:
        print_json([asdict(one) for one in found])
        return
    if not found:
        remark("no event waits for a handler")
    rows = [[one.event_type, one.count, shown_time(one.oldest)] for one in found]
    print_table("Events that wait for a handler", ["event", "waiting", "oldest (UTC)"], rows, right=["waiting"])
    if found:
        hint("next: events unhandled drop EVENT --dry-run")


@app.command()
def drop(
    types: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="EVENT", help="Event types.", show_default=False, autocompletion=completion.unhandled_types
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Of all types that no handler has subscribed to.")] = False,
    older_than: Annotated[
        timedelta | None, typer.Option(parser=age, metavar="AGE", help="Only what was stored so long ago, such as 30d.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="Events in one transaction.")] = 1000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    yes: confirming.Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete events that wait for a handler, for good: by type, or --all.

    None that was fanned out, or whose type a handler has subscribed to by then. Ctrl-C stops it between two batches.

    Example: events unhandled drop PageViewed --older-than 30d
    """
    if bool(types) == everything:
        raise refused("say which: `events unhandled drop EVENT...`, or `events unhandled drop --all`")
    pipeline = get_pipeline()
    pipeline.check()
    unhandled = pipeline.ledger.unhandled
    known = [one.event_type for one in unhandled.types()]
    chosen = known if everything else list(dict.fromkeys(types or ()))
    if unknown := [name for name in chosen if name not in known]:
        raise refused(
            f"no event of type {', '.join(unknown)} waits for a handler; `events unhandled list` shows what does"
        )
    least = older_than or timedelta(0)
    total = unhandled.count(chosen, least)
    if dry_run:
        if as_json:
            print_json({"dry_run": True, "events": total, "types": chosen})
        else:
            say(f"{total:,} events would be deleted")
        return
    if total:
        confirming.confirm(f"Delete {total:,} events of {', '.join(chosen)} for good?", yes=yes, needed=True)
    done, bar = 0, (TextColumn("deleting"), BarColumn(), MofNCompleteColumn())
    with Progress(*bar, console=console, transient=True, disable=as_json or not console.is_terminal) as progress:
        task = progress.add_task("deleting", total=total)
        try:
            for count in unhandled.drop(chosen, least, batch):
                done += count
                progress.update(task, completed=done)
        except KeyboardInterrupt:
            typer.echo(f"stopped: {done:,} deleted, the others are as they were", err=True)
            raise
    if as_json:
        print_json({"dry_run": False, "events": done, "types": chosen})
    else:
        say(f"{done:,} events deleted")
