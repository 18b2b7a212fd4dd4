"""Ids that are given to commands: whole, or as many of their first characters as tell them from the others."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated
from uuid import UUID

import typer

from events.cli import completion
from events.cli.output import refused
from events.errors import EventsError
from events.ledger import as_uuid
from events.operating import AT_ONCE, bounds, only_one
from events.pipeline import get_pipeline

Between = Callable[[UUID, UUID, int], list[UUID]]
_OR = "Or the beginning of it, where that is unique."

Event = Annotated[
    str,
    typer.Argument(metavar="EVENT_ID", help=f"The event's id. {_OR}", autocompletion=completion.dead_letters),
]
Dead = Annotated[
    list[str] | None,
    typer.Argument(metavar="EVENT_ID", help="Ids of events, or beginnings of them, where those are unique.",
                   show_default=False, autocompletion=completion.dead_letters),
]  # fmt: skip
Discarded = Annotated[
    list[str] | None,
    typer.Argument(metavar="EVENT_ID", help="Ids of events, or beginnings of them, where those are unique.",
                   show_default=False, autocompletion=completion.discarded),
]  # fmt: skip
Message = Annotated[
    str, typer.Argument(metavar="ID", help=f"The message's id. {_OR}", autocompletion=completion.parked)
]
Messages = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Ids of messages, or beginnings of them, where those are unique.",
                   show_default=False, autocompletion=completion.parked),
]  # fmt: skip


def dead(text: str) -> UUID:
    """The id of an event that has dead letters, or deliveries that were discarded. See `_whole`."""
    box = get_pipeline().ledger.dead
    return _whole(text, lambda *around: box.between(*around) or box.between(*around, discarded=True), "dead letter")


def all_dead(texts: Iterable[str] | None, *, discarded: bool = False) -> list[UUID]:
    """Ids of events that have dead letters, or deliveries that were discarded, each once."""
    find = partial(get_pipeline().ledger.dead.between, discarded=discarded)
    what = "discarded delivery" if discarded else "dead letter"
    return list(dict.fromkeys(_whole(text, find, what) for text in texts or ()))


def message(text: str) -> UUID:
    """The id of a message, parked or discarded."""
    lot = get_pipeline().ledger.parked
    return _whole(text, lambda *around: lot.between(*around) or lot.between(*around, discarded=True), "parked message")


def all_messages(texts: Iterable[str] | None, *, discarded: bool = False) -> list[UUID]:
    """Ids of parked messages, or discarded ones, each once."""
    find = partial(get_pipeline().ledger.parked.between, discarded=discarded)
    what = "discarded message" if discarded else "parked message"
    return list(dict.fromkeys(_whole(text, find, what) for text in texts or ()))


def _whole(text: str, between: Between, what: str) -> UUID:
    """Raises EventsError if none begins so, AmbiguousId if several do, BadParameter if it is no part of a UUID."""
    if (whole := as_uuid(text)) is not None:
        return whole
    if (around := bounds(text)) is None:
        raise refused(f"{text!r} is not a valid UUID, nor the beginning of one")
    if not (found := between(*around, AT_ONCE)):
        raise EventsError(f"no {what} has an id that begins with {text} (any more)")
    return only_one(text, found)
