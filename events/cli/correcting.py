"""`events dead edit`."""

import json
from typing import Annotated, Any
from uuid import UUID

import typer

from events.cli import filters
from events.cli.output import console
from events.letters import DeadLetter
from events.pipeline import get_pipeline
from events.registry import load_handlers


def edit(
    event_id: Annotated[UUID, typer.Argument(help="The event's id.", show_default=False)],
    changes: Annotated[str, typer.Argument(help="The fields to change, as a JSON object.", show_default=False)],
    handler: filters.Handler = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    actor: filters.Actor = None,
) -> None:
    """Correct the data of a dead letter and run it again. Needs EVENTS_EDIT=on.

    The event stays as it is. A copy with these changes takes the dead letter's place, for its handler alone; it must be
    valid for the event's class, so EVENTS_HANDLERS is loaded.

    Example: EVENTS_EDIT=on events dead edit 01931c9e-0000-7000-8000-000000000000 '{"amount": 5}'
    """
    try:
        wanted: Any = json.loads(changes)
    except ValueError as error:
        raise typer.BadParameter(f"the changes are no JSON: {error}") from None
    if not isinstance(wanted, dict) or not wanted:
        raise typer.BadParameter('the changes are a JSON object of fields, such as {"amount": 5}')
    pipeline = get_pipeline()
    load_handlers(pipeline.settings.handlers)

    def ask(letter: DeadLetter) -> None:
        if not yes and console.is_terminal:
            typer.confirm(f"Run {letter.handler} with {', '.join(wanted)} changed?", abort=True)

    corrected = pipeline.correcting.correct(event_id, wanted, actor or filters.actor(), handler=handler, confirm=ask)
    console.print(f"corrected as event {corrected}: events show {corrected}", highlight=False)
