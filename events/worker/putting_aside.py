"""What becomes of a message that this worker can't run: parked in the ledger, or passed on to another worker."""

import logging
from typing import Any

from events.ledger import Group
from events.pipeline import Pipeline
from events.worker.parking import NO_SUCH_DELIVERY, parked_message, tell_parked
from events.worker.validation import Problem

log = logging.getLogger("events.worker")


def park(pipeline: Pipeline, message: Any, problem: Problem, worker: str) -> None:
    """Keep the message in the ledger, with its bytes and the reason. Raises what the database raises."""
    parked = parked_message(message, problem, worker)
    pipeline.ledger.parked.park(parked)
    pipeline.hooks.parked(parked.reason)
    tell_parked(parked)


def pass_on(pipeline: Pipeline, message: Any, group: Group, worker: str) -> None:
    """Put the wake-ups back into the ledger, where they wait for a worker that has their handler; park the message if
    the ledger has no such delivery. Raises what the database raises."""
    ledger, first = pipeline.ledger, group[0]
    waiting = ledger.outbox.pass_on(group)
    if not (waiting or ledger.inbox.known(first.handler, [wakeup.event_id for wakeup in group])):
        park(pipeline, message, NO_SUCH_DELIVERY, worker)
    elif waiting:
        log.warning(
            "this worker has no handler named %r; deliveries that wait for a worker that has it: %d (event %s)",
            first.handler,
            waiting,
            first.event_id,
        )
