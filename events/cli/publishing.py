"""`events publish`: events from the shell or from a file."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from events.cli import completion
from events.cli.output import AsJson, console, print_json, refused, say
from events.current_pipeline import get_pipeline
from events.errors import PublishError
from events.event import DomainEvent, all_events, event_named
from events.handling import load_handlers

_AT_ONCE = 500


def publish(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="EVENT", help="The event type.", show_default=False, autocompletion=completion.event_types
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Argument(metavar="JSON", help="The event's fields, as a JSON object.", show_default=False),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help='A file with a line {"event": NAME, "data": {...}} for each event; - is stdin.',
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Publish an event, or all events of a file in one transaction.

    The command checks every line first, and stores all events or none. It knows the event types that the modules in
    EVENTS_HANDLERS define.

    Example: events publish CardAdded '{"library": "l-1", "title": "Dune"}'
    """
    if (name is None) == (file is None):
        raise refused("say what to publish: `events publish NAME JSON`, or `events publish --file FILE`")
    pipeline = get_pipeline()
    load_handlers(pipeline.settings.handlers)
    pipeline.check()
    events = list(_events_of(file)) if file is not None else [_event(name, _parsed(data or "{}", "the data"), "")]
    bar = (TextColumn("publishing"), BarColumn(), MofNCompleteColumn())
    with (
        Progress(*bar, console=console, transient=True, disable=as_json or not console.is_terminal) as progress,
        pipeline.ledger.events.begin() as connection,
    ):
        for start in progress.track(range(0, len(events), _AT_ONCE)):
            pipeline.publisher.publish(events[start : start + _AT_ONCE], session=connection)
    if as_json:
        print_json({"published": [event.event_id for event in events]})
    elif len(events) == 1:
        say(f"published {events[0].event_name} {events[0].event_id}")
    else:
        say(f"published {len(events):,} events")


def _events_of(file: Path) -> Iterator[DomainEvent]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PublishError(f"can't read {file}: {error}") from None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        where = f"line {number} of {file}"
        wanted = _parsed(line, where)
        if not isinstance(wanted, dict) or set(wanted) != {"event", "data"}:
            raise PublishError(f'{where} is not {{"event": NAME, "data": {{...}}}}; nothing is published')
        yield _event(wanted["event"], wanted["data"], f"{where}: ")


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise PublishError(f"{where} is not valid JSON: {error}; nothing is published") from None


def _event(name: Any, data: Any, where: str) -> DomainEvent:
    kind = event_named(name) if isinstance(name, str) else None
    if kind is None:
        known = ", ".join(sorted(event.event_name for event in all_events())) or "none"
        raise PublishError(f"{where}no event is named {name!r}; EVENTS_HANDLERS knows {known}; nothing is published")
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'data'}: {problem['msg']}" for problem in error.errors()
        )
        raise PublishError(f"{where}{name}: {problems}; nothing is published") from None
