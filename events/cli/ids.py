"""Ids as arguments of commands: a whole id, or as many of its first characters as no other id begins with."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import typer

from events.cli import completion
from events.cli.output import refused
from events.current_pipeline import get_pipeline
from events.errors import EventsError
from events.ledger import as_uuid
from events.operating import AT_ONCE, bounds, only_one

Between = Callable[[UUID, UUID, int], list[UUID]]
_OR = "The first characters are enough if no other id begins so."
_EVENT_IDS = "Ids of events. The first characters of an id are enough if no other id begins so."
_MESSAGE_IDS = "Ids of messages. The first characters of an id are enough if no other id begins so."

Event = Annotated[
    str,
    typer.Argument(metavar="EVENT_ID", help=f"The id of the event. {_OR}", autocompletion=completion.dead_letters),
]
Dead = Annotated[
    list[str] | None,
    typer.Argument(metavar="EVENT_ID", help=_EVENT_IDS, show_default=False, autocompletion=completion.dead_letters),
]
Discarded = Annotated[
    list[str] | None,
    typer.Argument(metavar="EVENT_ID", help=_EVENT_IDS, show_default=False, autocompletion=completion.discarded),
]
Message = Annotated[
    str, typer.Argument(metavar="ID", help=f"The id of the message. {_OR}", autocompletion=completion.parked)
]
Messages = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help=_MESSAGE_IDS, show_default=False, autocompletion=completion.parked),
]


def dead(text: str) -> UUID:
    """The id of an event that has dead letters or discarded deliveries. Raises as `_whole` does."""
    letters = get_pipeline().ledger.dead

    def between(*around: Any) -> list[UUID]:
        return letters.between(*around) or letters.between(*around, discarded=True)

    return _whole(text, between, "dead letter")


def all_dead(texts: Iterable[str] | None, *, discarded: bool = False) -> list[UUID]:
    """Ids of events that have dead letters, or else discarded deliveries, each once. Raises as `_whole` does."""
    between = partial(get_pipeline().ledger.dead.between, discarded=discarded)
    noun = "discarded delivery" if discarded else "dead letter"
    return list(dict.fromkeys(_whole(text, between, noun) for text in texts or ()))


def message(text: str) -> UUID:
    """The id of a message, parked or discarded. Raises as `_whole` does."""
    messages = get_pipeline().ledger.parked

    def between(*around: Any) -> list[UUID]:
        return messages.between(*around) or messages.between(*around, discarded=True)

    return _whole(text, between, "parked message")


def all_messages(texts: Iterable[str] | None, *, discarded: bool = False) -> list[UUID]:
    """Ids of parked messages, or else discarded messages, each once. Raises as `_whole` does."""
    between = partial(get_pipeline().ledger.parked.between, discarded=discarded)
    noun = "discarded message" if discarded else "parked message"
    return list(dict.fromkeys(_whole(text, between, noun) for text in texts or ()))


def _whole(text: str, between: Between, noun: str) -> UUID:
    """The whole id that begins with this text.

    Raises:
        EventsError: no id begins so.
        AmbiguousId: several ids begin so.
        BadParameter: the text is not the beginning of a UUID.
    """
    if (whole := as_uuid(text)) is not None:
        return whole
    if (around := bounds(text)) is None:
        raise refused(f"{text!r} is not a valid UUID, nor the beginning of one")
    if not (matches := between(*around, AT_ONCE)):
        raise EventsError(f"no {noun} has an id that begins with {text} (any more)")
    return only_one(text, matches)
