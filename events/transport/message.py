"""Makes the messages of wake-ups and dead letters.

A wake-up is a Celery task message (protocol 2) built by hand: `apply_async` spends most of its time on making texts of
arguments. Celery workers and Flower read it as any other task. Its id is the same for every attempt of a delivery.
https://docs.celeryq.dev/en/stable/internals/protocol.html
"""

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from events.ledger import DeadLetter, Group, Wakeup

HEADER = "events"  # our own header, which `group_of` reads without decoding the body
GARBAGE = "events-garbage"  # header of bytes in a Redis list that were no message: see events.transport.redis
_ORIGIN = f"{os.getpid()}@{socket.gethostname()}"
_EMBEDDED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


@dataclass(frozen=True, slots=True)
class Message:
    """A message of JSON text, as kombu publishes it."""

    body: str
    headers: dict[str, Any]
    correlation_id: str


def task_id(event_id: UUID, handler: str) -> str:
    """The id under which Celery and Flower know a delivery."""
    return str(uuid5(event_id, handler))


def wakeup_message(group: Group) -> Message:
    """The Celery task of one delivery, or of a group. The task has the name of the handler.

    In the task of one delivery, the event's id is a keyword argument and the root id: Flower finds the task by either.
    For a group, Flower shows the number of deliveries.
    """
    first = group[0]
    header: dict[str, Any] = {"handler": first.handler, "queue": first.queue}
    if len(group) == 1:
        event_id = str(first.event_id)
        arguments: dict[str, Any] = {"event_id": event_id, "attempt": first.token}  # the token has its older name here
        identity, root, retries = task_id(first.event_id, first.handler), event_id, first.token - 1
        header |= arguments
        shown = {"event_id": event_id} | ({"attempt": first.attempt} if first.attempt else {})
    else:
        deliveries = [[str(wakeup.event_id), wakeup.token] for wakeup in group]
        arguments = {"deliveries": deliveries}
        identity = root = task_id(first.event_id, f"{first.handler} {deliveries}")
        retries = 0
        header |= arguments
        shown = {"deliveries": len(group)}
    headers = {
        "lang": "py",
        "task": first.handler,
        "id": identity,
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": retries,
        "timelimit": [None, None],
        "root_id": root,
        "parent_id": None,
        "argsrepr": "()",
        "kwargsrepr": repr(shown),
        "origin": _ORIGIN,
        "ignore_result": True,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
        HEADER: header,
    }
    return Message(json.dumps([[], arguments, _EMBEDDED]), headers, identity)


def group_of(headers: Mapping[str, Any] | None) -> Group:
    """The wake-ups that a message carries; none if the message is not ours."""
    try:
        ours = (headers or {})[HEADER]
        handler, queue = str(ours["handler"]), str(ours["queue"])
        deliveries = ours["deliveries"] if "deliveries" in ours else [[ours["event_id"], ours["attempt"]]]
        return tuple(Wakeup(UUID(event_id), handler, queue, int(token)) for event_id, token in deliveries)
    except (KeyError, TypeError, ValueError, AttributeError):
        return ()


def dead_letter_message(letter: DeadLetter) -> Message:
    """A copy of a dead letter for the broker's dead-letter queue: JSON with all that the ledger knows."""
    body = {
        "event_id": str(letter.event_id),
        "event_type": letter.event_type,
        "aggregate_id": letter.aggregate_id,
        "event_data": _json_or_text(letter.event_data),
        "metadata": _json_or_text(letter.metadata),
        "handler": letter.handler,
        "queue": letter.queue,
        "attempts": letter.counted,
        "replays": letter.replays,
        "worker": letter.worker,
        "error_type": letter.error_type,
        "error": letter.error,
        "traceback": letter.traceback,
        "published_at": _iso(letter.published_at),
        "first_started_at": _iso(letter.first_started_at),
        "died_at": _iso(letter.died_at),
    }
    headers = {"event_id": str(letter.event_id), "event_type": letter.event_type, "handler": letter.handler}
    return Message(json.dumps(body), headers, task_id(letter.event_id, letter.handler))


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
