"""Masked fields: the fields that an event's class declares as private are never shown to people.

The ledger holds the true values, which handlers need; every page, command and log shows `***` instead. Three sources
say which fields are masked: the event's metadata, written when the event is published; the event's class, where it is
loaded; and the handlers that subscribed to the event, for events that other programs wrote.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from events.event import all_events, event_named
from events.ledger.dead_letters import DeadLetter
from events.ledger.unwrapping import unwrapped, unwrapped_value

HIDDEN = "***"
KEY = "masked"  # the name of the list in an event's metadata


def mask(data: str, metadata: str, event_type: str, declared: Mapping[str, Collection[str]]) -> str:
    """Return the event's data as people may see it.

    Args:
        data, metadata: JSON texts.
        declared: for each event type, the fields that handlers know to be masked.
    """
    data = unwrapped(data)
    known = event_named(event_type)
    fields = {*declared.get(event_type, ()), *_named(metadata), *(known.masked_fields if known else ())}
    if not fields:
        return data
    try:
        shown = json.loads(data)
    except ValueError:
        return HIDDEN  # data that can't be parsed may contain masked values
    if isinstance(shown, str):
        return HIDDEN
    for field in fields:
        _hide(shown, field.split("."))
    return json.dumps(shown, ensure_ascii=False)


def masked_letters(letters: Sequence[DeadLetter], declared: Mapping[str, Collection[str]]) -> list[DeadLetter]:
    """Return dead letters as people may see them: see `mask`."""
    return [
        replace(letter, event_data=mask(letter.event_data, letter.metadata, letter.event_type, declared))
        for letter in letters
    ]


def without(data: str, fields: Collection[str]) -> str:
    """Return the data, a JSON text, without these fields: for readers that would take `***` for a value."""
    left = json.loads(unwrapped(data))
    for field in fields:
        _remove(left, field.split("."))
    return json.dumps(left, ensure_ascii=False)


def mask_foreign(body: bytes, declared: Mapping[str, Collection[str]]) -> bytes:
    """Return a message from elsewhere as people may see it. The message may hold any event, flat or as a CloudEvent.

    If any field is masked in this process, a message that is no JSON is hidden altogether.
    """
    known = (event.masked_fields for event in all_events())
    fields = {field for named in (*declared.values(), *known) for field in named}
    if not fields:
        return body
    try:
        shown = unwrapped_value(json.loads(body))
    except ValueError:
        return HIDDEN.encode()
    if isinstance(shown, str):
        return HIDDEN.encode()
    if isinstance(shown, dict) and "data" in shown:
        shown["data"] = unwrapped_value(shown["data"])
    _hide(shown, ["data_base64"])  # this member holds the whole event
    for field in fields:
        _hide(shown, field.split("."))
        _hide(shown, ["data", *field.split(".")])
    return json.dumps(shown, ensure_ascii=False).encode()


def _named(metadata: str) -> list[str]:
    if f'"{KEY}"' not in metadata:
        return []
    try:
        names = json.loads(metadata)[KEY]
    except (ValueError, KeyError, TypeError):
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _hide(value: Any, path: list[str]) -> None:
    if isinstance(value, list):
        for item in value:
            _hide(item, path)
    elif isinstance(value, dict) and path[0] in value:
        if len(path) == 1:
            value[path[0]] = HIDDEN
        else:
            _hide(value[path[0]], path[1:])


def _remove(value: Any, path: list[str]) -> None:
    if isinstance(value, list):
        for item in value:
            _remove(item, path)
    elif isinstance(value, dict) and path[0] in value:
        if len(path) == 1:
            del value[path[0]]
        else:
            _remove(value[path[0]], path[1:])
