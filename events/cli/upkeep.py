"""`events prune`."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import chain
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from events.cli.output import AsJson, console, print_json
from events.letters import Pruned
from events.operator_ports import Unhandled
from events.pipeline import get_pipeline
from events.settings import duration


def age(text: str) -> timedelta:
    try:
        return duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _unhandled(events: Unhandled, older_than: timedelta, batch: int, dry_run: bool) -> Iterator[Pruned]:
    types = [one.event_type for one in events.types()]
    for count in [events.count(types, older_than)] if dry_run else events.drop(types, older_than, batch):
        yield Pruned(count)


def prune(
    older_than: Annotated[timedelta, typer.Option(parser=age, metavar="AGE", help="Such as 30d or 12h.")],
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Events looked at in one transaction.")] = 1000,
    unhandled: Annotated[
        bool, typer.Option("--unhandled", help="Also events of that age that no handler has subscribed to.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete events of that age whose deliveries all succeeded or were discarded, and closed parked messages.

    Dead letters and what is not finished stay, however old; so do events that wait for a handler (`events unhandled
    list`), unless --unhandled is said. Safe while everything runs, by two machines at once, and to be stopped by
    Ctrl-C: what is done is done.

    Example: events prune --older-than 30d
    """
    pipeline = get_pipeline()
    pipeline.check()
    total = Pruned()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=as_json or not console.is_terminal) as progress:
        task = progress.add_task("looking", total=None)
        parts = pipeline.ledger.retention.prune(older_than, batch, dry_run=dry_run)
        never = _unhandled(pipeline.ledger.unhandled, older_than, batch, dry_run) if unhandled else iter(())
        for pruned in chain(parts, never):
            total += pruned
            progress.update(task, description=f"{total.events:,} events, {total.deliveries:,} deliveries")
    if as_json:
        print_json({"dry_run": dry_run, "events": total.events, "deliveries": total.deliveries, "parked": total.parked})
        return
    what = f"{total.events:,} events with {total.deliveries:,} deliveries, {total.parked:,} parked messages"
    console.print(f"would delete {what}" if dry_run else f"deleted {what}", highlight=False)
