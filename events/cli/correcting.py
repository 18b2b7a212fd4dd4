"""`events dead edit`."""

import json
from typing import Annotated, Any

import typer

from events.cli import confirming, filters, ids
from events.cli.output import refused, say
from events.current_pipeline import get_pipeline
from events.handling import load_handlers
from events.ledger import DeadLetter


def edit(
    event_id: ids.Event,
    changes: Annotated[
        str, typer.Argument(metavar="JSON", help="The fields to change, as a JSON object.", show_default=False)
    ],
    handler: filters.Handler = None,
    yes: confirming.Yes = False,
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
        raise refused(f"the changes are no JSON: {error}") from None
    if not isinstance(wanted, dict) or not wanted:
        raise refused('the changes are a JSON object of fields, such as {"amount": 5}')
    pipeline = get_pipeline()
    load_handlers(pipeline.settings.handlers)

    def ask(letter: DeadLetter) -> None:
        confirming.confirm(f"Run {letter.handler} with {', '.join(wanted)} changed?", yes=yes)

    whole, who = ids.dead(event_id), actor or filters.actor()
    corrected = pipeline.correcting.correct(whole, wanted, who, handler=handler, confirm=ask)
    say(f"corrected as event {corrected}: events show {corrected}")
