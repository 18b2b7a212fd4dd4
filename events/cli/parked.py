"""`events parked`: messages that were found in a queue and are no wake-up."""

import json
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.markup import escape

from events.cli.output import AsJson, console, moment, print_json, print_table
from events.errors import ConfigurationError
from events.letters import Parked
from events.parking import NoSuchParkedMessage
from events.pipeline import get_pipeline
from events.registry import load_handlers

app = typer.Typer(help="Messages that can't be run: list, show, replay, discard.", no_args_is_help=True)

_SHOWN = 2_000  # bytes

Reason = Annotated[str | None, typer.Option("--reason", help="Only those parked for this reason.")]
Ids = Annotated[list[UUID] | None, typer.Argument(help="Ids of parked messages.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="All that match the filter.")]


@app.command("list")
def list_(
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Parked messages, newest first.

    Example: events parked list --reason "body is not JSON"
    """
    parked = get_pipeline().parked
    found = parked.find(reason=reason, limit=limit)
    if as_json:
        print_json([_as_json(message) for message in found])
        return
    if not found:
        console.print("no parked messages")
        return
    counts = parked.counts()
    total = counts.get(reason, 0) if reason else sum(counts.values())
    rows = [
        [message.id, message.queue, message.reason, f"{len(message.body):,}", moment(message.parked_at),
         escape(message.detail.split("\n")[0][:120])]
        for message in found
    ]  # fmt: skip
    columns = ["id", "queue", "reason", "bytes", "parked (UTC)", "detail"]
    print_table(f"{len(found)} of {total} parked messages", columns, rows, right=["bytes"])
    console.print("next: events parked show ID | events parked replay ID | events parked discard ID")


@app.command()
def show(message_id: Annotated[UUID, typer.Argument(help="The message's id.")], as_json: AsJson = False) -> None:
    """One message: reason, headers and bytes.

    Example: events parked show 01931c9e-0000-7000-8000-000000000000
    """
    message = get_pipeline().parked.show(message_id)
    if as_json:
        print_json(_as_json(message))
        return
    for label, value in (
        ("id", message.id),
        ("queue", message.queue),
        ("reason", message.reason),
        ("detail", message.detail),
        ("parked", f"{moment(message.parked_at)} by {message.worker}"),
        ("properties", json.dumps(message.properties, ensure_ascii=False)),
        (f"{len(message.body):,} bytes", message.body[:_SHOWN].decode("utf-8", "backslashreplace")),
    ):
        console.print(f"{label:<12} {value}", markup=False, highlight=False)
    if len(message.body) > _SHOWN:
        console.print(f"... all {len(message.body):,} bytes: events parked show {message.id} --json", highlight=False)


@app.command()
def replay(ids: Ids = None, reason: Reason = None, everything: All = False) -> None:
    """Put them back into their queues as they came. One that still can't be run is parked anew.

    What came by a bridge is published, if it can be accepted now; else it stays.

    Example: events parked replay --all --reason "not a wake-up"
    """
    _act("replay", ids, reason, everything)


@app.command()
def discard(ids: Ids = None, reason: Reason = None, everything: All = False) -> None:
    """Give them up for good; their rows stay, in state `discarded`.

    Example: events parked discard 01931c9e-0000-7000-8000-000000000000
    """
    _act("discard", ids, reason, everything)


def _act(verb: str, ids: list[UUID] | None, reason: str | None, everything: bool) -> None:
    if bool(ids) == everything:
        raise typer.BadParameter(f"say which: `events parked {verb} ID...`, or `events parked {verb} --all`")
    pipeline = get_pipeline()
    if verb == "replay":
        with suppress(ConfigurationError):  # who knows the event classes can tell whether a bridge's message fits
            load_handlers(pipeline.settings.handlers)
    parked = pipeline.parked
    count = (parked.replay if verb == "replay" else parked.discard)(ids or (), reason=reason)
    console.print(f"{count} {'replayed' if verb == 'replay' else 'discarded'}", highlight=False)
    if ids and count == 0:
        raise NoSuchParkedMessage(
            "none of these is parked (any more), or can be accepted; `events parked list` shows what there is"
        )


def _as_json(message: Parked) -> dict[str, Any]:
    """The body as text, and as `body_hex` where it isn't UTF-8."""
    try:
        body = {"body": message.body.decode()}
    except UnicodeDecodeError:
        body = {"body_hex": message.body.hex()}
    return asdict(message) | {"body": None} | body
