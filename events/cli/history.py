"""`events show` and `events find`: what became of events."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from events.cli import filters
from events.cli.output import AsJson, console, moment, print_json, print_table
from events.history import EventFilter, EventRecord, Found, timeline
from events.identity import as_uuid
from events.inspection import NoSuchEvent
from events.pipeline import get_pipeline


def show(
    event_id: Annotated[str, typer.Argument(help="The event's id: here, or where it came from.")],
    tracebacks: Annotated[bool, typer.Option("--tracebacks", help="With the traceback of every attempt.")] = False,
    as_json: AsJson = False,
) -> None:
    """One event: its data, where each delivery stands, and all that happened, with who did it and what it caused.

    If several senders use an id, all their events are listed.

    Example: events show 01931c9e-0000-7000-8000-000000000000
    """
    history = get_pipeline().history
    try:
        found = history.called(event_id)
    except NoSuchEvent:
        if as_uuid(event_id) is None:
            raise typer.BadParameter(f"{event_id!r} is not a valid UUID, and no sender has an event of it") from None
        raise
    if len(found) > 1:
        _list(found, as_json)
        return
    event = history.event(found[0].event_id)
    if as_json:
        parsed = {"data": _parsed(event.data), "metadata": _parsed(event.metadata)}
        print_json(asdict(event) | parsed | {"timeline": [asdict(one) for one in timeline(event)]})
        return
    _print(event)
    if any(one.event_id != event.event_id for one in history.find(EventFilter(sender_id=event_id))):
        console.print(f"others have this id where they came from: events find --sender-id {event_id}")
    if tracebacks:
        for attempt in event.attempts:
            console.rule(f"{escape(attempt.handler)}, attempt {attempt.attempt}")
            console.print(attempt.traceback or attempt.error, markup=False, highlight=False)


def find(
    event: filters.EventType = None,
    aggregate: filters.Aggregate = None,
    correlation: filters.Correlation = None,
    sender_id: filters.SenderId = None,
    since: filters.Since = None,
    before: filters.Before = None,
    limit: filters.Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Events, newest first: by type, aggregate, correlation, the sender's id and time of publishing.

    Example: events find --aggregate order-17 --since 7d
    """
    wanted = EventFilter(event, aggregate, since, before, limit, correlation, sender_id)
    _list(get_pipeline().history.find(wanted), as_json)


def _list(found: Sequence[Found], as_json: bool) -> None:
    if as_json:
        print_json([asdict(one) for one in found])
        return
    if not found:
        console.print("no event matches")
        return
    rows = [[one.event_id, one.event_type, one.aggregate_id, moment(one.published_at)] for one in found]
    print_table(f"{len(found):,} events", ["event id", "event", "aggregate", "published (UTC)"], rows)
    console.print("next: events show EVENT_ID")


def _print(event: EventRecord) -> None:
    console.rule(f"{escape(event.event_type)} {event.event_id}")
    for label, value in (
        ("aggregate", event.aggregate_id),
        ("version", event.version),
        ("occurred", moment(event.occurred_at)),
        ("data", event.data),
        ("metadata", event.metadata),
    ):
        console.print(f"{label:<12} {value}", markup=False, highlight=False)
    rows = [[one.handler, one.queue, one.state, one.attempts, one.replays] for one in event.deliveries]
    print_table("Deliveries", ["handler", "queue", "state", "attempts", "replays"], rows, right=["attempts", "replays"])
    if event.fan_out:
        console.print(event.fan_out)
    happened = [
        [one.at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3], one.what, one.handler, one.who, escape(one.detail[:160])]
        for one in timeline(event)
    ]
    print_table("Timeline", ["when (UTC)", "what", "handler", "who", ""], happened)


def _parsed(text: str) -> object:
    """As it is if a foreign program wrote what is no JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text
