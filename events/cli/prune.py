"""`events prune`."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from itertools import chain
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from events.cli import confirming
from events.cli.output import AsJson, console, print_json, refused, say
from events.ledger import Pruned, Unhandled
from events.pipeline import get_pipeline
from events.settings import duration


def age(text: str) -> timedelta:
    try:
        return duration(text)
    except ValueError as error:
        raise refused(error) from None


def _unhandled(events: Unhandled, older_than: timedelta, batch: int, dry_run: bool) -> Iterator[Pruned]:
    types = [one.event_type for one in events.types()]
    for count in [events.count(types, older_than)] if dry_run else events.drop(types, older_than, batch):
        yield Pruned(count)


def prune(
    older_than: Annotated[timedelta, typer.Option(parser=age, metavar="AGE", help="Such as 30d or 12h.")],
    batch: Annotated[
        int, typer.Option(min=1, max=10_000, metavar="N", help="Events looked at in one transaction.")
    ] = 1000,
    unhandled: Annotated[
        bool, typer.Option("--unhandled", help="Also events of that age that no handler has subscribed to.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    yes: confirming.Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete events of that age whose deliveries all succeeded or were discarded, and closed parked messages.

    Dead letters and what is not finished stay, however old; so do events that wait for a handler (`events unhandled
    list`), unless --unhandled is said. Safe while everything runs, by two machines at once, and to be stopped by
    Ctrl-C: what is done is done. Asks on a terminal; where there is none, as in cron, it goes on without --yes.

    Example: events prune --older-than 30d
    """
    pipeline = get_pipeline()
    pipeline.check()

    def work(*, dry_run: bool, told: Callable[[Pruned], None]) -> Pruned:
        total = Pruned()
        parts = pipeline.ledger.retention.prune(older_than, batch, dry_run=dry_run)
        never = _unhandled(pipeline.ledger.unhandled, older_than, batch, dry_run) if unhandled else iter(())
        for pruned in chain(parts, never):
            total += pruned
            told(total)
        return total

    if not dry_run and not yes and confirming.can_ask():
        count = _with_spinner(partial(work, dry_run=True), quiet=as_json)
        if count != Pruned():
            confirming.confirm(f"Delete {_named(count)} for good?", yes=yes)
    total = _with_spinner(partial(work, dry_run=dry_run), quiet=as_json)
    if as_json:
        print_json({"dry_run": dry_run, "events": total.events, "deliveries": total.deliveries, "parked": total.parked})
        return
    say(f"{'would delete' if dry_run else 'deleted'} {_named(total)}")


def _named(what: Pruned) -> str:
    return f"{what.events:,} events with {what.deliveries:,} deliveries, {what.parked:,} parked messages"


def _with_spinner(work: Callable[..., Pruned], *, quiet: bool) -> Pruned:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("looking", total=None)

        def told(total: Pruned) -> None:
            progress.update(task, description=f"{total.events:,} events, {total.deliveries:,} deliveries")

        return work(told=told)
