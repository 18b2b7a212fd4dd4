"""`events catalog` and `events asyncapi`: the events of an application, and its contract with other services."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from events.bridges import forwarded
from events.cli.output import AsJson, complain, hint, is_terminal, print_json, print_table, say
from events.contract import Catalog, CatalogEvent, as_page, collect, document, routes_of
from events.current_pipeline import get_pipeline
from events.errors import EventsError
from events.event import all_events
from events.handling import all_handlers, load_handlers, without_handlers
from events.integration import is_public
from events.settings import load_settings
from events.text import plural

Title = Annotated[
    str | None, typer.Option("--title", metavar="TEXT", help="The title of the document; default EVENTS_HANDLERS.")
]


class Format(StrEnum):
    """How a document is written."""

    JSON = "json"
    YAML = "yaml"


def asyncapi(
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Write the document to this file; default: standard output."),
    ] = None,
    form: Annotated[
        Format | None,
        typer.Option("--format", metavar="json|yaml", help="Default: json for a file named .json, else yaml."),
    ] = None,
    as_json: AsJson = False,
    every: Annotated[bool, typer.Option("--all", help="Include private events.")] = False,
    title: Title = None,
    version: Annotated[
        str, typer.Option("--api-version", metavar="VERSION", help="The version of the contract as a whole.")
    ] = "1.0.0",
) -> None:
    """Print the contract of the public events as AsyncAPI 3.0: channels, messages, schemas. Needs no database.

    An event is public if its class is an IntegrationEvent, or if EVENTS_FORWARD or EVENTS_BRIDGES forwards it.

    Example: events asyncapi --output asyncapi.yaml
    """
    settings = load_settings()
    load_handlers(settings.handlers)
    routes = routes_of(settings)
    events = [
        event
        for event in all_events()
        if every
        or is_public(event)
        or forwarded(event, settings.forward)
        or any(route.takes(event) for route in routes)
    ]
    if not events:
        complain(
            f"none of the {len(list(all_events())):,} events of EVENTS_HANDLERS is public: make an event an "
            f"IntegrationEvent, name an event in EVENTS_FORWARD, or say --all"
        )
    contract = document(events, all_handlers(), routes, title=title or ", ".join(settings.handlers), version=version)
    if as_json or (form or _form_of(output)) is Format.JSON:
        text = json.dumps(contract, indent=2, ensure_ascii=False) + "\n"
    else:
        import yaml  # here, since every command is imported with the others

        text = yaml.safe_dump(contract, sort_keys=False, allow_unicode=True, width=120)
    if output is None:
        typer.echo(text, nl=False)
    else:
        _write(output, text)
        say(f"{output}: {plural(len(events), 'event')}")


def catalog(
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the catalog to this file, as one web page.")
    ] = None,
    as_json: AsJson = False,
    title: Title = None,
) -> None:
    """List every event: its fields, its publishers and handlers, whether it is public, which bridges forward it.

    Without a database, the catalog shows what the code says, and the last line says why.

    Example: events catalog --html catalog.html
    """
    pipeline = get_pipeline()
    load_handlers(pipeline.settings.handlers)
    everything = collect(pipeline)
    if html is not None:
        _write(html, as_page(everything, title or ", ".join(pipeline.settings.handlers)))
    if as_json:
        print_json(asdict(everything))
    elif html is not None:
        say(f"{html}: {plural(len(everything.events), 'event')}")
    else:
        _print(everything)
    if (missing := without_handlers(pipeline.settings.handlers)) and not as_json:
        complain(missing)
    if everything.unknown and not as_json:
        complain(f"{everything.unknown}; the catalog shows only what the code says")


def _print(everything: Catalog) -> None:
    rows = [_row(event) for event in everything.events]
    columns = ["event", "is", "fields", "published by", "handled by", "forwarded to"]
    print_table(plural(len(rows), "event"), columns, rows, texts=columns[1:])
    translators = [handler for handler in everything.handlers if handler.kind == "translator"]
    if translators and is_terminal():  # a pipe has them in "published by"
        say("")
        rows = [[handler.name, list(handler.events), list(handler.publishes)] for handler in translators]
        print_table("Translators", ["translator", "of", "into"], rows, texts=["of", "into"])
    hint("next: events catalog --html catalog.html | events asyncapi")


def _row(event: CatalogEvent) -> list[object]:
    marks = ["public"] * event.public + [f"version {event.version}" if event.loaded else "of another service"]
    fields = [
        field.name + ("" if field.required else "?") + ("".join(f", masked {path}" for path in field.masked))
        for field in event.fields
    ]
    publishers = [*event.translators, *(f"a handler of {cause}" for cause in event.caused_by)]
    return [
        event.name,
        marks,
        fields or [f"masked {path}" for path in event.masked],
        publishers or ["not known"],
        event.handlers or ["none known"],
        event.forwarded_to,
    ]


def _form_of(output: Path | None) -> Format:
    return Format.JSON if output is not None and output.suffix.lower() == ".json" else Format.YAML


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise EventsError(f"can't write {path}: {error.strerror or error}") from None
