"""`events tail`: what happens to events, live."""

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
from events.ledger import EventFilter
from events.operating import Happening, Tail
from events.pipeline import get_pipeline
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
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each, for scripts.")] = False,
) -> None:
    """Print what happens, live: events published from now on (or --since), and what becomes of them. Ctrl-C ends it.

    Example: events tail --event CardAdded --since 5m
    """
    pipeline = get_pipeline()
    pipeline.check()
    wanted = EventFilter(event_type=event, aggregate_id=aggregate, since=since, correlation_id=correlation)
    following = Tail(pipeline.history, pipeline.dead_letters, wanted, handler)
    away = False
    while True:
        try:
            for one in following.look():
                _print(one, as_json=as_json)
            away = False
        except DBAPIError as error:  # it comes back, and nothing is missed that the ledger still tells
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


def _print(one: Happening, *, as_json: bool) -> None:
    if as_json:
        print(to_json(asdict(one)), flush=True)
        return
    at = one.at.strftime("%H:%M:%S.%f")[:-3]
    line = Text(f"{at} {one.event_id} {printable(one.event_type)}")
    if one.aggregate_id and not one.handler:
        line.append(f" {printable(one.aggregate_id)}")
    if one.handler:
        line.append(f" -> {printable(one.handler)}")
    line.append(f" {one.what}", style=_COLOURS.get(one.what, "bold"))
    if one.detail:
        line.append(f" {printable(one.detail[:200] if is_terminal() else one.detail)}")
    if one.who:
        line.append(f" ({printable(one.who)})", style="dim")
    console.print(line, soft_wrap=not is_terminal())
