"""`events dead`: dead letters, on the ledger."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Annotated
from uuid import UUID

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from events.cli import filters
from events.cli.output import AsJson, console, moment, print_json, print_table
from events.letters import DeadLetter, DeadLetterFilter
from events.pipeline import get_pipeline

app = typer.Typer(help="Dead letters: list, groups, show, replay, discard, restore, edit.", no_args_is_help=True)

EventIds = Annotated[list[UUID] | None, typer.Argument(help="Ids of events.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="All that match the filters.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count.")]


@app.command("list")
def list_(
    handler: filters.Handler = None,
    event: filters.EventType = None,
    aggregate: filters.Aggregate = None,
    error: filters.Error = None,
    since: filters.Since = None,
    before: filters.Before = None,
    group: filters.Group = None,
    limit: filters.Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Dead letters, newest first. One that failed again after a replay is marked.

    Example: events dead list --handler add_to_feed --since 12h
    """
    letters = get_pipeline().dead_letters
    wanted = _of_group(group, DeadLetterFilter(handler, event, aggregate, error, since, before))
    found = letters.find(replace(wanted, limit=limit))
    if as_json:
        print_json([asdict(letter) for letter in found])
        return
    if not found:
        console.print("no dead letters")
        return
    rows = [
        [letter.event_id, letter.event_type, letter.handler, _attempts(letter), moment(letter.died_at), _reason(letter)]
        for letter in found
    ]
    title = f"{len(found):,} of {letters.count(wanted):,} dead letters"
    print_table(title, ["event id", "event", "handler", "attempts", "died (UTC)", "error"], rows, right=["attempts"])
    console.print("next: events dead show EVENT_ID | events dead groups | events dead replay EVENT_ID")


@app.command()
def groups(
    handler: filters.Handler = None,
    event: filters.EventType = None,
    aggregate: filters.Aggregate = None,
    error: filters.Error = None,
    since: filters.Since = None,
    before: filters.Before = None,
    as_json: AsJson = False,
) -> None:
    """What failed alike: handler, exception and place in the application, the most numerous first.

    Example: events dead groups --since 1d
    """
    found = get_pipeline().dead_letters.groups(DeadLetterFilter(handler, event, aggregate, error, since, before))
    if as_json:
        print_json([asdict(group) | {"group": group.key} for group in found])
        return
    if not found:
        console.print("no dead letters")
        return
    rows = [
        [group.key, group.handler, escape(group.error_type.rpartition(".")[2]), group.place, f"{group.count:,}",
         moment(group.first_died_at), moment(group.last_died_at), group.replayed, _first_line(group.example)]
        for group in found
    ]  # fmt: skip
    columns = ["group", "handler", "error", "in", "count", "first (UTC)", "last (UTC)", "replayed", "example"]
    print_table("Dead letters that failed alike", columns, rows, right=["count", "replayed"])
    console.print("next: events dead list --group GROUP | events dead replay --group GROUP")


@app.command()
def show(
    event_id: Annotated[UUID, typer.Argument(help="The event's id.")],
    handler: Annotated[str | None, typer.Argument(help="Only of this handler.")] = None,
    as_json: AsJson = False,
) -> None:
    """One event's dead letters: payload, times, worker, error and traceback. `events show` has every attempt.

    Example: events dead show 01931c9e-0000-7000-8000-000000000000
    """
    found = get_pipeline().dead_letters.show(event_id, handler)
    if as_json:
        print_json([asdict(letter) for letter in found])
        return
    for letter in found:
        console.rule(f"{escape(letter.event_type)} -> {escape(letter.handler)}")
        for label, value in (
            ("event id", letter.event_id),
            ("aggregate", letter.aggregate_id),
            ("queue", letter.queue),
            ("attempts", f"{letter.attempts} (replayed {letter.replays} times)"),
            ("worker", letter.worker),
            ("published", moment(letter.published_at)),
            ("first start", moment(letter.first_started_at)),
            ("died", moment(letter.died_at)),
            ("data", letter.event_data),
            ("metadata", letter.metadata),
            ("in", letter.place),
            ("error", f"{letter.error_type}: {letter.error}"),
        ):
            console.print(f"{label:<12} {value if value is not None else ''}", markup=False, highlight=False)
        if letter.traceback:
            console.print(letter.traceback, markup=False, highlight=False)


@app.command("replay")
def replay_(
    event_ids: EventIds = None,
    everything: All = False,
    group: filters.Group = None,
    handler: filters.Handler = None,
    event: filters.EventType = None,
    aggregate: filters.Aggregate = None,
    error: filters.Error = None,
    since: filters.Since = None,
    before: filters.Before = None,
    rate: Annotated[float | None, typer.Option("--rate", min=0.1, help="At most so many a second.")] = None,
    dry_run: DryRun = False,
    actor: filters.Actor = None,
) -> None:
    """Run them again, with all their attempts, the oldest first: by id, by --group, or --all that match the filters.

    Ctrl-C stops it between two batches; the same command goes on with the rest.

    Example: events dead replay --group 3f0c9a1e --rate 50
    """
    wanted = DeadLetterFilter(handler, event, aggregate, error, since, before, event_ids or ())
    letters = get_pipeline().dead_letters
    _act(
        "replay", wanted, everything, group, dry_run,
        lambda chosen, told: letters.replay(chosen, actor or filters.actor(), rate=rate, progress=told),
    )  # fmt: skip


@app.command()
def discard(
    event_ids: EventIds = None,
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
    """Give them up. Their rows stay, in state `discarded`, until `events prune` deletes them: restore takes it back.

    Example: events dead discard 01931c9e-0000-7000-8000-000000000000
    """
    wanted = DeadLetterFilter(handler, event, aggregate, error, since, before, event_ids or ())
    letters = get_pipeline().dead_letters
    _act(
        "discard", wanted, everything, group, dry_run,
        lambda chosen, told: letters.discard(chosen, actor or filters.actor(), progress=told),
    )  # fmt: skip


@app.command()
def restore(
    event_ids: Annotated[list[UUID], typer.Argument(help="Ids of events.", show_default=False)],
    handler: filters.Handler = None,
    actor: filters.Actor = None,
) -> None:
    """What was discarded is a dead letter again. Not what `edit` discarded: its corrected copy took its place.

    Example: events dead restore 01931c9e-0000-7000-8000-000000000000
    """
    count = get_pipeline().dead_letters.restore(event_ids, actor or filters.actor(), handler)
    console.print(f"{count} restored", highlight=False)
    if not count:
        typer.echo(
            "events: none of these is discarded, or `events dead edit` put a corrected copy in its place "
            "(`events show` tells)", err=True,
        )  # fmt: skip
        raise typer.Exit(1)


def _act(
    verb: str,
    wanted: DeadLetterFilter,
    everything: bool,
    group: str | None,
    dry_run: bool,
    act: Callable[[DeadLetterFilter, Callable[[int, int], None]], int],
) -> None:
    ways = [bool(wanted.event_ids), everything, group is not None]
    if sum(ways) != 1:
        raise typer.BadParameter(
            f"say which: `events dead {verb} EVENT_ID...`, `events dead {verb} --group GROUP`, "
            f"or `events dead {verb} --all`"
        )
    letters = get_pipeline().dead_letters
    chosen = _of_group(group, wanted)
    did = "replayed" if verb == "replay" else "discarded"
    if dry_run:
        console.print(f"{letters.count(chosen):,} would be {did}", highlight=False)
        return
    bar = (TextColumn(verb), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*bar, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(verb, total=None)
        try:
            count = act(chosen, lambda done, total: progress.update(task, completed=done, total=total))
        except KeyboardInterrupt:
            typer.echo(f"stopped: {progress.tasks[task].completed:,.0f} {did}, the others are as they were", err=True)
            raise
    console.print(f"{count:,} {did}", highlight=False)
    if wanted.event_ids and count == 0:
        typer.echo(
            "events: none of these is a dead letter (any more); `events dead list` shows what there is", err=True
        )
        raise typer.Exit(1)


def _of_group(group: str | None, wanted: DeadLetterFilter) -> DeadLetterFilter:
    return wanted if group is None else get_pipeline().dead_letters.of_group(group, wanted)


def _attempts(letter: DeadLetter) -> str:
    return f"{letter.attempts}" + (" (again)" if letter.replays else "")


def _reason(letter: DeadLetter) -> str:
    return _first_line(f"{letter.error_type.rpartition('.')[2]}: {letter.error}")


def _first_line(text: str) -> str:
    return escape(text.split("\n")[0][:120])
