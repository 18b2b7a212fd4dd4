"""`events prune`."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from itertools import chain
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from events.cli import confirming
from events.cli.output import AsJson, console, print_json, refused, say
from events.current_pipeline import get_pipeline
from events.ledger import Pruned, Unhandled
from events.settings import duration
from events.text import deliveries, plural


def age(text: str) -> timedelta:
    """A length of time such as 30d, for options. Raises BadParameter."""
    try:
        return duration(text)
    except ValueError as error:
        raise refused(error) from None


def paced(batches: Iterator[Pruned], share: float) -> Iterator[Pruned]:
    """Those batches, with a rest after each, so that they take this share of the time."""
    begun = time.monotonic()
    for pruned in batches:
        took = time.monotonic() - begun
        yield pruned
        time.sleep(took * (1 / share - 1))
        begun = time.monotonic()


def _unhandled(events: Unhandled, older_than: timedelta, batch: int, dry_run: bool) -> Iterator[Pruned]:
    types = [unhandled.event_type for unhandled in events.types()]
    for count in [events.count(types, older_than)] if dry_run else events.drop(types, older_than, batch):
        yield Pruned(count)


def prune(
    older_than: Annotated[
        timedelta, typer.Option(parser=age, metavar="AGE", help="The least age of what is deleted, such as 30d or 12h.")
    ],
    batch: Annotated[
        int, typer.Option(min=1, max=10_000, metavar="N", help="How many events one transaction looks at.")
    ] = 1000,
    unhandled: Annotated[
        bool, typer.Option("--unhandled", help="Delete old events to which no handler has subscribed, too.")
    ] = False,
    share: Annotated[
        float,
        typer.Option(
            min=0.01, max=1, metavar="X", help="How much of the time to work, so that live work goes on: 0.01 to 1."
        ),
    ] = 0.25,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the rows, and delete none.")] = False,
    yes: confirming.Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete old events whose deliveries all succeeded or were discarded.

    The command also deletes parked messages that were replayed or discarded as long ago.

    Dead letters and unfinished deliveries stay, whatever their age. Events that wait for a handler (`events unhandled
    list`) stay, too, unless you say --unhandled. You can prune while workers run, and on two machines at once: the
    command rests after each batch, three times as long as that took, unless you give it a larger --share. Ctrl-C undoes
    the transaction that runs, and none before it. On a terminal, the command asks first; in cron, where there is no
    terminal, it doesn't need --yes.

    Example: events prune --older-than 30d
    """
    pipeline = get_pipeline()
    pipeline.check()

    def work(*, dry_run: bool, told: Callable[[Pruned], None]) -> Pruned:
        total = Pruned()
        finished = pipeline.ledger.retention.prune(older_than, batch, dry_run=dry_run)
        never_handled = _unhandled(pipeline.ledger.unhandled, older_than, batch, dry_run) if unhandled else iter(())
        for pruned in paced(chain(finished, never_handled), share):
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


def _named(pruned: Pruned) -> str:
    return (
        f"{plural(pruned.events, 'event')} with {deliveries(pruned.deliveries)}, "
        f"{plural(pruned.parked, 'parked message')}"
    )


def _with_spinner(work: Callable[..., Pruned], *, quiet: bool) -> Pruned:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("looking for old events", total=None)

        def told(total: Pruned) -> None:
            progress.update(task, description=f"{plural(total.events, 'event')}, {deliveries(total.deliveries)}")

        return work(told=told)
