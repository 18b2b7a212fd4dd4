"""Masked fields: what an event's class declares as nobody's business is shown to nobody.

The ledger holds the true values, which handlers need; every face for people gets `***` instead. Which fields those are
is said by the event itself (in its metadata, written when it is published), by its class, where that is loaded, and by
the handlers that subscribed to it, for events that other programs wrote.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from events.event import all_events, event_named
from events.ledger.dead_letters import DeadLetter
from events.ledger.unwrapping import unwrapped, unwrapped_value

HIDDEN = "***"
KEY = "masked"  # in an event's metadata


def mask(data: str, metadata: str, event_type: str, declared: Mapping[str, Collection[str]]) -> str:
    """The event's data as people may see it.

    Args:
        data, metadata: JSON texts.
        declared: event type to the fields that handlers know to be masked.
    """
    data = unwrapped(data)
    known = event_named(event_type)
    fields = {*declared.get(event_type, ()), *_named(metadata), *(known.masked_fields if known else ())}
    if not fields:
        return data
    try:
        shown = json.loads(data)
    except ValueError:
        return HIDDEN  # nobody can tell what is in it
    if isinstance(shown, str):
        return HIDDEN
    for field in fields:
        _hide(shown, field.split("."))
    return json.dumps(shown, ensure_ascii=False)


def masked_letters(letters: Sequence[DeadLetter], declared: Mapping[str, Collection[str]]) -> list[DeadLetter]:
    """Dead letters as people may see them: see `mask`."""
    return [replace(one, event_data=mask(one.event_data, one.metadata, one.event_type, declared)) for one in letters]


def without(data: str, fields: Collection[str]) -> str:
    """The data, a JSON text, with these fields left out: for whoever would take `***` for a value."""
    left = json.loads(unwrapped(data))
    for field in fields:
        _remove(left, field.split("."))
    return json.dumps(left, ensure_ascii=False)


def mask_foreign(body: bytes, declared: Mapping[str, Collection[str]]) -> bytes:
    """A message of somebody else's as people may see it: whatever event it may be, flat or as a CloudEvent.

    What is no JSON is hidden altogether, as soon as anything is masked here.
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
    _hide(shown, ["data_base64"])  # which is the whole of it
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
        for one in value:
            _hide(one, path)
    elif isinstance(value, dict) and path[0] in value:
        if len(path) == 1:
            value[path[0]] = HIDDEN
        else:
            _hide(value[path[0]], path[1:])


def _remove(value: Any, path: list[str]) -> None:
    if isinstance(value, list):
        for one in value:
            _remove(one, path)
    elif isinstance(value, dict) and path[0] in value:
        if len(path) == 1:
            del value[path[0]]
        else:
            _remove(value[path[0]], path[1:])
