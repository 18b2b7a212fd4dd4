"""`events dead`: dead letters, on the ledger."""

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer
from rich.markup import escape

from events.cli.output import AsJson, console, moment, print_json, print_table
from events.pipeline import get_pipeline
from events.records import DeadLetter

app = typer.Typer(help="Dead letters: list, show, replay, discard.", no_args_is_help=True)

Handler = Annotated[str | None, typer.Option("--handler", help="Only of this handler.")]
EventType = Annotated[str | None, typer.Option("--event", help="Only of this event type.")]
EventIds = Annotated[list[UUID] | None, typer.Argument(help="Ids of events.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="All that match the filters.")]


@app.command("list")
def list_(
    handler: Handler = None,
    event: EventType = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Dead letters, newest first.

    Example: events dead list --handler add_to_feed
    """
    letters = get_pipeline().dead_letters
    found = letters.find(handler=handler, event_type=event, limit=limit)
    if as_json:
        print_json([asdict(letter) for letter in found])
        return
    if not found:
        console.print("no dead letters")
        return
    rows = [
        [letter.event_id, letter.event_type, letter.handler, letter.attempts, moment(letter.died_at), _reason(letter)]
        for letter in found
    ]
    total = letters.count(handler=handler, event_type=event)
    title = f"{len(found)} of {total} dead letters"
    print_table(title, ["event id", "event", "handler", "attempts", "died (UTC)", "error"], rows, right=["attempts"])
    console.print("next: events dead show EVENT_ID | events dead replay EVENT_ID | events dead replay --all")


@app.command()
def show(
    event_id: Annotated[UUID, typer.Argument(help="The event's id.")],
    handler: Annotated[str | None, typer.Argument(help="Only of this handler.")] = None,
    as_json: AsJson = False,
) -> None:
    """One event's dead letters: payload, times, worker, error and traceback.

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
            ("error", f"{letter.error_type}: {letter.error}"),
        ):
            console.print(f"{label:<12} {value if value is not None else ''}", markup=False, highlight=False)
        if letter.traceback:
            console.print(letter.traceback, markup=False, highlight=False)


@app.command()
def replay(
    event_ids: EventIds = None, handler: Handler = None, event: EventType = None, everything: All = False
) -> None:
    """Run them again, with all their attempts. Needs event ids, or --all with or without filters.

    Example: events dead replay --all --handler add_to_feed
    """
    _act("replay", event_ids, handler, event, everything)


@app.command()
def discard(
    event_ids: EventIds = None, handler: Handler = None, event: EventType = None, everything: All = False
) -> None:
    """Give them up for good; their rows stay, in state `discarded`.

    Example: events dead discard 01931c9e-0000-7000-8000-000000000000
    """
    _act("discard", event_ids, handler, event, everything)


def _act(verb: str, event_ids: list[UUID] | None, handler: str | None, event: str | None, everything: bool) -> None:
    if bool(event_ids) == everything:
        raise typer.BadParameter(f"say which: `events dead {verb} EVENT_ID...`, or `events dead {verb} --all`")
    letters = get_pipeline().dead_letters
    act = letters.replay if verb == "replay" else letters.discard
    count = act(event_ids or (), handler=handler, event_type=event)
    console.print(f"{count} {'replayed' if verb == 'replay' else 'discarded'}", highlight=False)
    if event_ids and count == 0:
        typer.echo(
            "events: none of these is a dead letter (any more); `events dead list` shows what there is", err=True
        )
        raise typer.Exit(1)


def _reason(letter: DeadLetter) -> str:
    first = letter.error.split("\n")[0]
    return escape(f"{letter.error_type.rpartition('.')[2]}: {first}"[:120])
