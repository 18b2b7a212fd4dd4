"""`events dead`: to look at dead letters, and at what was discarded. What is done to them is in dead_actions."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated

import typer

from events.cli import completion, correcting, dead_actions, filters, ids
from events.cli.help_pages import App
from events.cli.output import (
    AsJson,
    heading,
    hint,
    print_fields,
    print_json,
    print_table,
    remark,
    say_lines,
    shown_time,
)
from events.current_pipeline import get_pipeline
from events.ledger import DeadLetter

app = App(help="Dead letters: list, groups, show, replay, discard, restore, edit.")

Discarded = Annotated[
    bool, typer.Option("--discarded", help="Instead, what was discarded and `events dead restore` can take back.")
]


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
    discarded: Discarded = False,
    as_json: AsJson = False,
) -> None:
    """Dead letters, newest first. One that failed again after a replay is marked.

    Example: events dead list --handler add_to_feed --since 12h
    """
    letters = get_pipeline().dead_letters
    all_of_them = filters.dead_letters(
        handler=handler, event=event, aggregate=aggregate, error=error, since=since, before=before, discarded=discarded
    )
    wanted = all_of_them if group is None else letters.of_group(group, all_of_them)
    found = letters.find(replace(wanted, limit=limit))
    if as_json:
        print_json([asdict(letter) for letter in found])
        return
    what = "discarded deliveries" if discarded else "dead letters"
    if not found:
        remark(f"no {what}")
    title = f"{len(found):,} of {letters.count(wanted):,} {what}" if found else ""
    _print_letters(title, found, "discarded (UTC)" if discarded else "died (UTC)")
    if found:
        hint(
            "next: events dead restore EVENT_ID"
            if discarded
            else "next: events dead show EVENT_ID | events dead groups | events dead replay EVENT_ID"
        )


@app.command()
def groups(
    handler: filters.Handler = None,
    event: filters.EventType = None,
    aggregate: filters.Aggregate = None,
    error: filters.Error = None,
    since: filters.Since = None,
    before: filters.Before = None,
    discarded: Discarded = False,
    as_json: AsJson = False,
) -> None:
    """What failed alike: handler, exception and place in the application, the most numerous first.

    Example: events dead groups --since 1d
    """
    wanted = filters.dead_letters(
        handler=handler, event=event, aggregate=aggregate, error=error, since=since, before=before, discarded=discarded
    )
    found = get_pipeline().dead_letters.groups(wanted)
    if as_json:
        print_json([asdict(group) | {"group": group.key} for group in found])
        return
    if not found:
        remark("no discarded deliveries" if discarded else "no dead letters")
    rows = [
        [
            group.key,
            group.handler,
            group.error_type.rpartition(".")[2],
            group.place,
            group.count,
            shown_time(group.first_died_at),
            shown_time(group.last_died_at),
            group.replayed,
            group.example,
        ]
        for group in found
    ]
    columns = ["group", "handler", "error", "in", "count", "first (UTC)", "last (UTC)", "replayed", "example"]
    title = "What was discarded, by how it failed" if discarded else "Dead letters that failed alike"
    print_table(title, columns, rows, right=["count", "replayed"], texts=["error", "example"])
    if found:
        does = "restore" if discarded else "replay"
        more = " --discarded" if discarded else ""
        hint(f"next: events dead list --group GROUP{more} | events dead {does} --group GROUP")


@app.command()
def show(
    event_id: ids.Event,
    handler: Annotated[
        str | None,
        typer.Argument(metavar="HANDLER", help="Only of this handler.", autocompletion=completion.handlers),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """One event's dead letters: payload, times, worker, error and traceback. `events show` has every attempt.

    Example: events dead show 01931c9e-0000-7000-8000-000000000000
    """
    found = get_pipeline().dead_letters.show(ids.dead(event_id), handler)
    if as_json:
        print_json([asdict(letter) for letter in found])
        return
    for letter in found:
        heading(f"{letter.event_type} -> {letter.handler}")
        print_fields(
            (
                ("event id", letter.event_id),
                ("aggregate", letter.aggregate_id),
                ("queue", letter.queue),
                ("attempts", f"{letter.counted} (replayed {letter.replays} times)"),
                ("worker", letter.worker),
                ("published", shown_time(letter.published_at)),
                ("first start", shown_time(letter.first_started_at)),
                ("died", shown_time(letter.died_at)),
                ("data", letter.event_data),
                ("metadata", letter.metadata),
                ("in", letter.place),
                ("error", f"{letter.error_type}: {letter.error}"),
            ),
            whole=("data", "metadata"),
        )
        if letter.traceback:
            say_lines(letter.traceback)


def _print_letters(title: str, found: Sequence[DeadLetter], when: str) -> None:
    rows = [
        [
            letter.event_id,
            letter.event_type,
            letter.handler,
            _attempts(letter),
            shown_time(letter.died_at),
            _reason(letter),
        ]
        for letter in found
    ]
    columns = ["event id", "event", "handler", "attempts", when, "error"]
    print_table(title, columns, rows, right=["attempts"], texts=["error"])


def _attempts(letter: DeadLetter) -> str:
    return f"{letter.counted}" + (" (again)" if letter.replays else "")


def _reason(letter: DeadLetter) -> str:
    return f"{letter.error_type.rpartition('.')[2]}: {letter.error}" if letter.error_type or letter.error else ""


app.command("replay")(dead_actions.replay)
app.command()(dead_actions.discard)
app.command()(dead_actions.restore)
app.command()(correcting.edit)
