"""`events dead replay`, `discard` and `restore`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from events.cli import confirming, filters, ids
from events.cli.output import complain, console, refused, say
from events.current_pipeline import get_pipeline
from events.ledger import DeadLetterFilter
from events.text import plural

All = Annotated[bool, typer.Option("--all", help="All that match the filters.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count.")]

Verb = Literal["replay", "discard", "restore"]
_DID = {"replay": "replayed", "discard": "discarded", "restore": "restored"}
_NONE = {
    "replay": "none of these is a dead letter (any more); `events dead list` shows what there is",
    "discard": "none of these is a dead letter (any more); `events dead list` shows what there is",
    "restore": "none of these is discarded, or `events dead edit` put a corrected copy in its place "
    "(`events show` tells)",
}


def replay(
    event_ids: ids.Dead = None,
    everything: All = False,
    group: filters.Group = None,
    handler: filters.Handler = None,
    event: filters.EventType = None,
    aggregate: filters.Aggregate = None,
    error: filters.Error = None,
    since: filters.Since = None,
    before: filters.Before = None,
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.1, metavar="N", help="At most so many a second.")
    ] = None,
    dry_run: DryRun = False,
    actor: filters.Actor = None,
) -> None:
    """Run them again, with all their attempts, the oldest first: by id, by --group, or --all that match the filters.

    Ctrl-C stops it between two batches; the same command goes on with the rest.

    Example: events dead replay --group 3f0c9a1e --rate 50
    """
    letters = get_pipeline().dead_letters
    these = ids.all_dead(event_ids)
    wanted = filters.dead_letters(
        handler=handler, event=event, aggregate=aggregate, error=error, since=since, before=before, event_ids=these
    )
    _act(
        "replay",
        wanted,
        everything,
        group,
        dry_run,
        lambda chosen, told: letters.replay(chosen, actor or filters.actor(), rate=rate, progress=told),
    )


def discard(
    event_ids: ids.Dead = None,
    everything: All = False,
    group: filters.Group = None,
    handler: filters.Handler = None,
    event: filters.EventType = None,
    aggregate: filters.Aggregate = None,
    error: filters.Error = None,
    since: filters.Since = None,
    before: filters.Before = None,
    dry_run: DryRun = False,
    yes: confirming.Yes = False,
    actor: filters.Actor = None,
) -> None:
    """Give them up. Their rows stay, in state `discarded`, until `events prune` deletes them: restore takes it back.

    Asks on a terminal if it isn't told which by their ids.

    Example: events dead discard 01931c9e-0000-7000-8000-000000000000
    """
    letters = get_pipeline().dead_letters
    these = ids.all_dead(event_ids)
    wanted = filters.dead_letters(
        handler=handler, event=event, aggregate=aggregate, error=error, since=since, before=before, event_ids=these
    )
    _act(
        "discard",
        wanted,
        everything,
        group,
        dry_run,
        lambda chosen, told: letters.discard(chosen, actor or filters.actor(), progress=told),
        lambda count: confirming.confirm(f"Discard {plural(count, 'dead letter')}?", yes=yes),
    )


def restore(
    event_ids: ids.Discarded = None,
    everything: All = False,
    group: filters.Group = None,
    handler: filters.Handler = None,
    event: filters.EventType = None,
    aggregate: filters.Aggregate = None,
    error: filters.Error = None,
    since: filters.Since = None,
    before: filters.Before = None,
    dry_run: DryRun = False,
    actor: filters.Actor = None,
) -> None:
    """What was discarded is a dead letter again: by id, by --group, or --all that match the filters.

    Not what `edit` discarded: its corrected copy took its place. `events dead list --discarded` shows what there is;
    --since and --before mean when it was discarded.

    Example: events dead restore --all --since 1h --dry-run
    """
    letters = get_pipeline().dead_letters
    these = ids.all_dead(event_ids, discarded=True)
    wanted = filters.dead_letters(
        handler=handler,
        event=event,
        aggregate=aggregate,
        error=error,
        since=since,
        before=before,
        event_ids=these,
        discarded=True,
    )
    _act(
        "restore",
        wanted,
        everything,
        group,
        dry_run,
        lambda chosen, told: letters.restore(chosen, actor or filters.actor(), progress=told),
    )


def _act(
    verb: Verb,
    wanted: DeadLetterFilter,
    everything: bool,
    group: str | None,
    dry_run: bool,
    act: Callable[[DeadLetterFilter, Callable[[int, int], None]], int],
    ask: Callable[[int], None] = lambda _: None,
) -> None:
    if [bool(wanted.event_ids), everything, group is not None].count(True) != 1:
        raise refused(
            f"say which: `events dead {verb} EVENT_ID...`, `events dead {verb} --group GROUP`, "
            f"or `events dead {verb} --all`"
        )
    letters, did = get_pipeline().dead_letters, _DID[verb]
    chosen = wanted if group is None else letters.of_group(group, wanted)
    if dry_run:
        say(f"{letters.count(chosen):,} would be {did}")
        return
    if not wanted.event_ids and (total := letters.count(chosen)):
        ask(total)
        chosen = replace(chosen, limit=total)  # and none that has come meanwhile
    bar = (TextColumn(verb), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*bar, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(verb, total=None)
        try:
            count = act(chosen, lambda done, total: progress.update(task, completed=done, total=total))
        except KeyboardInterrupt:
            typer.echo(f"stopped: {progress.tasks[task].completed:,.0f} {did}, the others are as they were", err=True)
            raise
    say(f"{count:,} {did}")
    if wanted.event_ids and count == 0:
        complain(_NONE[verb])
        raise typer.Exit(1)
