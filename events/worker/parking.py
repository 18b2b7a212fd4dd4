"""Parked messages: what the ledger keeps of a message that can't be run."""

import json
import logging
from typing import Any
from uuid import uuid4

from kombu import Message

from events.ledger import Parked, Wakeup
from events.transport import GARBAGE, wakeup_message
from events.worker.validation import REASONS, Problem, raw_body

log = logging.getLogger("events.worker")

NO_SUCH_DELIVERY = Problem("no such delivery", "the ledger has no delivery for this wake-up")
ALL_REASONS = (*REASONS, NO_SUCH_DELIVERY.reason)


def parked_message(message: Message, problem: Problem, worker: str) -> Parked:
    """The record of a kombu message. Headers that JSON can't hold are kept as their text."""
    headers = message.headers if isinstance(message.headers, dict) else {}
    properties = {
        "headers": json.loads(json.dumps({str(key): value for key, value in headers.items()}, default=repr)),
        "content_type": _text(message.content_type),
        "content_encoding": _text(message.content_encoding),
        "correlation_id": _text((message.properties or {}).get("correlation_id")),
        "raw": GARBAGE in headers,
    }
    queue = str((message.delivery_info or {}).get("routing_key") or "")
    return Parked(uuid4(), queue, problem.reason, problem.detail, raw_body(message), properties, worker)


def parked_wakeup(wakeup: Wakeup, worker: str) -> Parked:
    """The record of a well-formed wake-up for a delivery that doesn't exist."""
    message = wakeup_message((wakeup,))
    properties = {
        "headers": message.headers,
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "correlation_id": message.correlation_id,
        "raw": False,
    }
    problem, body = NO_SUCH_DELIVERY, message.body.encode()
    return Parked(uuid4(), wakeup.queue, problem.reason, problem.detail, body, properties, worker)


def tell_parked(parked: Parked) -> None:
    """Log that this message can't be run."""
    log.error(
        "message %s of queue %s can't be run: %s: %s; see `events parked show %s`",
        parked.id,
        parked.queue,
        parked.reason,
        parked.detail[:500],
        parked.id,
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
