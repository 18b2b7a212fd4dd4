"""`events parked`: messages that a worker found in its queue, or a bridge received, and that can't be run."""

import json
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any

import typer

from events.cli import confirming, ids
from events.cli.help_pages import App
from events.cli.output import AsJson, hint, print_fields, print_json, print_table, refused, remark, say, shown_time
from events.current_pipeline import get_pipeline
from events.errors import ConfigurationError, NoSuchParkedMessage
from events.handling import load_handlers
from events.ledger import Parked
from events.text import plural

app = App(help="Parked messages, which can't be run: list, show, replay, discard, restore.")

_SHOWN = 2_000  # bytes

Reason = Annotated[
    str | None, typer.Option("--reason", metavar="REASON", help="Only messages that were parked for this reason.")
]
All = Annotated[bool, typer.Option("--all", help="All messages that match the filter.")]


@app.command("list")
def list_(
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most this many, newest first.")] = 50,
    discarded: Annotated[
        bool, typer.Option("--discarded", help="List discarded messages, which `events parked restore` can take back.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List parked messages, newest first.

    Example: events parked list --reason "body is not JSON"
    """
    parked = get_pipeline().parked
    messages = parked.find(reason=reason, limit=limit, discarded=discarded)
    if as_json:
        print_json([_as_json(message) for message in messages])
        return
    state = "discarded" if discarded else "parked"
    if not messages:
        remark(f"no {state} messages")
    counts = parked.counts(discarded=discarded)
    total = counts.get(reason, 0) if reason else sum(counts.values())
    rows = [
        [message.id, message.queue, message.reason, len(message.body), shown_time(message.parked_at), message.detail]
        for message in messages
    ]
    columns = ["id", "queue", "reason", "bytes", "parked (UTC)", "detail"]
    title = f"{len(messages):,} of {plural(total, f'{state} message')}"
    print_table(title, columns, rows, right=["bytes"], texts=["detail"])
    if messages:
        verb = "restore ID" if discarded else "replay ID | events parked discard ID"
        hint(f"next: events parked show ID | events parked {verb}")


@app.command()
def show(message_id: ids.Message, as_json: AsJson = False) -> None:
    """Show one message: its reason, headers and bytes.

    Example: events parked show 01931c9e-0000-7000-8000-000000000000
    """
    message = get_pipeline().parked.show(ids.message(message_id))
    if as_json:
        print_json(_as_json(message))
        return
    size = f"{len(message.body):,} bytes"
    print_fields(
        (
            ("id", message.id),
            ("queue", message.queue),
            ("reason", message.reason),
            ("detail", message.detail),
            ("parked", f"{shown_time(message.parked_at)} by {message.worker}"),
            ("properties", json.dumps(message.properties, ensure_ascii=False)),
            (size, message.body[:_SHOWN].decode("utf-8", "backslashreplace")),
        ),
        whole=("properties", size),
    )
    if len(message.body) > _SHOWN:
        remark(f"... all {len(message.body):,} bytes: events parked show {message.id} --json")


@app.command()
def replay(messages: ids.Messages = None, reason: Reason = None, everything: All = False) -> None:
    """Put parked messages back into their queues, unchanged. A message that still can't be run is parked again.

    A message that came by a bridge becomes an event if the bridge accepts it now; else it stays parked.

    Example: events parked replay --all --reason "not a wake-up"
    """
    _say_which("replay", messages, everything)
    pipeline = get_pipeline()
    with suppress(ConfigurationError):  # the event classes say whether the message of a bridge fits
        load_handlers(pipeline.settings.handlers)
    count = pipeline.parked.replay(ids.all_messages(messages), reason=reason)
    none = "none of these messages is parked (any more), or the bridge still doesn't accept it"
    _report(count, "replayed", messages, f"{none}; `events parked list` shows the parked messages")


@app.command()
def discard(
    messages: ids.Messages = None, reason: Reason = None, everything: All = False, yes: confirming.Yes = False
) -> None:
    """Discard parked messages. `events parked restore` restores them until `events prune` deletes them.

    On a terminal, --all asks first.

    Example: events parked discard 01931c9e-0000-7000-8000-000000000000
    """
    _say_which("discard", messages, everything)
    parked = get_pipeline().parked
    if everything and not yes and confirming.can_ask():
        counts = parked.counts()
        total = counts.get(reason, 0) if reason else sum(counts.values())
        if total:
            confirming.confirm(f"Discard {plural(total, 'parked message')}?", yes=yes)
    count = parked.discard(ids.all_messages(messages), reason=reason)
    none = "none of these messages is parked (any more)"
    _report(count, "discarded", messages, f"{none}; `events parked list` shows the parked messages")


@app.command()
def restore(messages: ids.Messages = None, reason: Reason = None, everything: All = False) -> None:
    """Park discarded messages again. `events parked list --discarded` shows the discarded messages.

    Example: events parked restore --all --reason "not a wake-up"
    """
    _say_which("restore", messages, everything)
    count = get_pipeline().parked.restore(ids.all_messages(messages, discarded=True), reason=reason)
    none = (
        "none of these messages is discarded (any more); `events parked list --discarded` shows the discarded messages"
    )
    _report(count, "restored", messages, none)


def _say_which(verb: str, messages: list[str] | None, everything: bool) -> None:
    if bool(messages) == everything:
        raise refused(f"say which messages: `events parked {verb} ID...`, or `events parked {verb} --all`")


def _report(count: int, did: str, messages: list[str] | None, none: str) -> None:
    say(f"{count:,} {did}")
    if messages and count == 0:
        raise NoSuchParkedMessage(none)


def _as_json(message: Parked) -> dict[str, Any]:
    """The message, with its body as text; as `body_hex`, if the body isn't UTF-8."""
    try:
        body = {"body": message.body.decode()}
    except UnicodeDecodeError:
        body = {"body_hex": message.body.hex()}
    return asdict(message) | {"body": None} | body
