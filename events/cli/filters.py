"""Options that several commands share: which dead letters or events, and who acts."""

import getpass
import socket
from collections.abc import Collection
from datetime import datetime
from typing import Annotated
from uuid import UUID

import typer

from events.cli import completion
from events.cli.output import refused
from events.ledger import DeadLetterFilter
from events.operating import parse_time


def when(text: str) -> datetime:
    """For options: see events.operating.times."""
    try:
        return parse_time(text)
    except ValueError as error:
        raise refused(error) from None


def dead_letters(
    *,
    handler: str | None,
    event: str | None,
    aggregate: str | None,
    error: str | None,
    since: datetime | None,
    before: datetime | None,
    event_ids: Collection[UUID] = (),
    discarded: bool = False,
) -> DeadLetterFilter:
    """The filter that the options of a command make; they are named as below."""
    return DeadLetterFilter(
        handler=handler,
        event_type=event,
        aggregate_id=aggregate,
        error=error,
        since=since,
        before=before,
        event_ids=event_ids,
        discarded=discarded,
    )


def actor() -> str:
    """Who stands in the history for what is done: the user and the machine, unless --actor says otherwise."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


Handler = Annotated[
    str | None,
    typer.Option("--handler", metavar="HANDLER", help="Only of this handler.", autocompletion=completion.handlers),
]
EventType = Annotated[
    str | None,
    typer.Option("--event", metavar="EVENT", help="Only of this event type.", autocompletion=completion.event_types),
]
Aggregate = Annotated[str | None, typer.Option("--aggregate", metavar="ID", help="Only of this aggregate id.")]
Correlation = Annotated[
    str | None, typer.Option("--correlation", metavar="ID", help="All that one request caused, by its correlation id.")
]
SenderId = Annotated[
    str | None,
    typer.Option("--sender-id", metavar="ID", help="Only with this id where they came from, whoever the sender is."),
]
Error = Annotated[
    str | None, typer.Option("--error", metavar="TEXT", help="Only with this in the exception's type or text.")
]
Since = Annotated[
    datetime | None, typer.Option("--since", parser=when, metavar="TIME", help="Such as 2h, 7d or 2026-01-31T08:00.")
]
Before = Annotated[datetime | None, typer.Option("--before", parser=when, metavar="TIME", help="As --since.")]
Group = Annotated[
    str | None,
    typer.Option(
        "--group",
        metavar="GROUP",
        help="Only of this failure group: see `events dead groups`.",
        autocompletion=completion.groups,
    ),
]
Limit = Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most this many, newest first.")]
Actor = Annotated[
    str | None, typer.Option("--actor", metavar="WHO", help="Who does it, for the history; default: USER@HOST.")
]
