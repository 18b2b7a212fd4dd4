"""`events tail`: prints what happens to events, live."""

import os
import sys
import time
from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text
from sqlalchemy.exc import DBAPIError

from events.cli import filters
from events.cli.output import as_json as to_json
from events.cli.output import complain, console, is_terminal
from events.current_pipeline import get_pipeline
from events.ledger import EventFilter
from events.operating import Happening, Tail
from events.text import first_line, printable

_COLOURS = {"succeeded": "green", "dead": "red", "to be retried": "yellow", "discarded": "dim", "started": "dim"}


def tail(
    event: filters.EventType = None,
    aggregate: filters.Aggregate = None,
    correlation: filters.Correlation = None,
    handler: filters.Handler = None,
    since: filters.Since = None,
    every: Annotated[
        float, typer.Option("--every", min=0.1, metavar="N", help="Seconds between looks at the ledger.")
    ] = 0.5,
    once: Annotated[bool, typer.Option("--once", help="Look at the ledger once, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line for each, for scripts.")] = False,
) -> None:
    """Print what happens to events, live: to events published from now on, or since --since. Ctrl-C ends the command.

    Example: events tail --event CardAdded --since 5m
    """
    pipeline = get_pipeline()
    pipeline.check()
    wanted = EventFilter(event_type=event, aggregate_id=aggregate, since=since, correlation_id=correlation)
    following = Tail(pipeline.history, pipeline.dead_letters, wanted, handler)
    away = False
    while True:
        try:
            for happening in following.look():
                _print(happening, as_json=as_json)
            away = False
        except DBAPIError as error:  # the database comes back, and the ledger still tells what happened meanwhile
            if once:
                raise
            if not away:
                complain(f"waiting for the database: {first_line(error.orig)}")
            away = True
        except BrokenPipeError:  # `events tail | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        if once:
            return
        time.sleep(every)


def _print(happening: Happening, *, as_json: bool) -> None:
    if as_json:
        print(to_json(asdict(happening)), flush=True)
        return
    at = happening.at.strftime("%H:%M:%S.%f")[:-3]
    line = Text(f"{at} {happening.event_id} {printable(happening.event_type)}")
    if happening.aggregate_id and not happening.handler:
        line.append(f" {printable(happening.aggregate_id)}")
    if happening.handler:
        line.append(f" -> {printable(happening.handler)}")
    line.append(f" {happening.what}", style=_COLOURS.get(happening.what, "bold"))
    if happening.detail:
        line.append(f" {printable(happening.detail[:200] if is_terminal() else happening.detail)}")
    if happening.who:
        line.append(f" ({printable(happening.who)})", style="dim")
    console.print(line, soft_wrap=not is_terminal())
