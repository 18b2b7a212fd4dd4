"""`events show` and `events find`: what became of events."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from events.cli import completion, filters
from events.cli.output import (
    AsJson,
    heading,
    hint,
    moment,
    print_fields,
    print_json,
    print_table,
    refused,
    remark,
    say,
    say_lines,
)
from events.ledger import EventFilter, EventRecord, Found, as_uuid, timeline
from events.operating import NoSuchEvent
from events.pipeline import get_pipeline


def show(
    event_id: Annotated[
        str,
        typer.Argument(
            metavar="EVENT_ID",
            help="The event's id: here, or where it came from. Or the beginning of the one here, where that is unique.",
            autocompletion=completion.events,
        ),
    ],
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
            raise refused(f"{event_id!r} is not a valid UUID, and no sender has an event of it") from None
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
        remark(f"others have this id where they came from: events find --sender-id {event_id}")
    if tracebacks:
        for attempt in event.attempts:
            heading(f"{attempt.handler}, attempt {attempt.run}")
            say_lines(attempt.traceback or attempt.error)


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
    wanted = EventFilter(
        event_type=event,
        aggregate_id=aggregate,
        since=since,
        before=before,
        limit=limit,
        correlation_id=correlation,
        sender_id=sender_id,
    )
    _list(get_pipeline().history.find(wanted), as_json)


def _list(found: Sequence[Found], as_json: bool) -> None:
    if as_json:
        print_json([asdict(one) for one in found])
        return
    if not found:
        remark("no event matches")
    rows = [[one.event_id, one.event_type, one.aggregate_id, moment(one.published_at)] for one in found]
    print_table(f"{len(found):,} events", ["event id", "event", "aggregate", "published (UTC)"], rows)
    if found:
        hint("next: events show EVENT_ID")


def _print(event: EventRecord) -> None:
    heading(f"{event.event_type} {event.event_id}")
    print_fields(
        (
            ("aggregate", event.aggregate_id),
            ("version", event.version),
            ("occurred", moment(event.occurred_at)),
            ("data", event.data),
            ("metadata", event.metadata),
        ),
        whole=("data", "metadata"),
    )
    say("")
    rows = [[one.handler, one.queue, one.state, one.counted, one.replays] for one in event.deliveries]
    print_table("Deliveries", ["handler", "queue", "state", "attempts", "replays"], rows, right=["attempts", "replays"])
    if event.fan_out:
        remark(event.fan_out)
    happened = [
        [one.at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3], one.what, one.handler, one.who, one.detail]
        for one in timeline(event)
    ]
    say("")
    print_table("Timeline", ["when (UTC)", "what", "handler", "who", "detail"], happened, texts=["detail"])


def _parsed(text: str) -> object:
    """As it is if a foreign program wrote what is no JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text
