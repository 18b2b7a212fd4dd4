"""`events catalog` and `events asyncapi`: what there is, and what others can count on."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from events.bridges import forwarded
from events.cli.output import AsJson, complain, hint, is_terminal, print_json, print_table, say
from events.contract import Catalog, CatalogEvent, as_page, collect, document, routes_of
from events.errors import EventsError
from events.event import all_events
from events.handling import all_handlers, load_handlers, without_handlers
from events.integration import is_public
from events.pipeline import get_pipeline
from events.settings import load_settings

Title = Annotated[
    str | None, typer.Option("--title", metavar="TEXT", help="What it is headed; default EVENTS_HANDLERS.")
]


class Format(StrEnum):
    """Of a document."""

    JSON = "json"
    YAML = "yaml"


def asyncapi(
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="The file to write; default standard output.")
    ] = None,
    form: Annotated[
        Format | None,
        typer.Option("--format", metavar="json|yaml", help="Default: as the file's name says, or yaml."),
    ] = None,
    as_json: AsJson = False,
    every: Annotated[bool, typer.Option("--all", help="Private events, too.")] = False,
    title: Title = None,
    version: Annotated[
        str, typer.Option("--api-version", metavar="VERSION", help="Of the contract as a whole.")
    ] = "1.0.0",
) -> None:
    """The contract of the public events as AsyncAPI 3.0: channels, messages, schemas. Needs no database.

    Public is what is declared as IntegrationEvent, or forwarded: EVENTS_FORWARD, EVENTS_BRIDGES.

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
            f"none of the {len(list(all_events())):,} events of EVENTS_HANDLERS is public: make it an "
            f"IntegrationEvent, name it in EVENTS_FORWARD, or say --all"
        )
    made = document(events, all_handlers(), routes, title=title or ", ".join(settings.handlers), version=version)
    if as_json or (form or _form_of(output)) is Format.JSON:
        text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
    else:
        import yaml  # here, since every command is imported with the others

        text = yaml.safe_dump(made, sort_keys=False, allow_unicode=True, width=120)
    if output is None:
        typer.echo(text, nl=False)
    else:
        _write(output, text)
        say(f"{output}: {len(events):,} events")


def catalog(
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write it as one web page to this file.")
    ] = None,
    as_json: AsJson = False,
    title: Title = None,
) -> None:
    """Every event: its fields, who publishes and handles it, whether it is public, where it is forwarded.

    Works without a database, and then says what it doesn't know.

    Example: events catalog --html catalog.html
    """
    pipeline = get_pipeline()
    load_handlers(pipeline.settings.handlers)
    found = collect(pipeline)
    if html is not None:
        _write(html, as_page(found, title or ", ".join(pipeline.settings.handlers)))
    if as_json:
        print_json(asdict(found))
    elif html is not None:
        say(f"{html}: {len(found.events):,} events")
    else:
        _print(found)
    if (missing := without_handlers(pipeline.settings.handlers)) and not as_json:
        complain(missing)
    if found.unknown and not as_json:
        complain(f"{found.unknown}; shown is what the code alone says")


def _print(found: Catalog) -> None:
    rows = [_row(event) for event in found.events]
    columns = ["event", "is", "fields", "published by", "handled by", "forwarded to"]
    print_table(f"{len(rows):,} events", columns, rows, texts=columns[1:])
    translators = [one for one in found.handlers if one.kind == "translator"]
    if translators and is_terminal():  # a pipe has them in "published by"
        say("")
        rows = [[one.name, list(one.events), list(one.publishes)] for one in translators]
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
        event.handlers or ["nobody known"],
        event.forwarded_to,
    ]


def _form_of(output: Path | None) -> Format:
    return Format.JSON if output is not None and output.suffix.lower() == ".json" else Format.YAML


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise EventsError(f"can't write {path}: {error.strerror or error}") from None
