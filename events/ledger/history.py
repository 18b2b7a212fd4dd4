"""The history of an event, from publishing to the last outcome: its records, and one timeline of all of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from events.ledger.outcome import Outcome
from events.ledger.records import HELD, Mark, State
from events.text import first_line


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """An attempt that did not end well; `attempt` is its number since the last replay."""

    handler: str
    attempt: int
    outcome: str
    worker: str | None
    started_at: datetime | None
    ended_at: datetime
    error_type: str
    error: str
    traceback: str
    place: str


class Action(StrEnum):
    """The actions of operators on deliveries and handlers."""

    REPLAY = "replay"
    DISCARD = "discard"
    RESTORE = "restore"
    EDIT = "edit"  # discards the delivery, and sends a corrected copy
    PAUSE = "pause"
    RESUME = "resume"
    RETIRE = "retire"
    REVOKE = "revoke"  # the worker will not run the delivery
    TERMINATE = "terminate"


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """An operator's action on a delivery."""

    handler: str
    action: str
    actor: str
    acted_at: datetime


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """The row of a delivery as it is now; for `attempts_before` and `counted` see DeadLetter.

    Attributes:
        attempt: the number of its last attempt since the last replay, which may be an attempt that doesn't count; 0
            before the first.
    """

    handler: str
    queue: str
    state: str
    attempts: int
    attempts_before: int
    attempt: int
    replays: int
    created_at: datetime | None
    due_at: datetime | None
    sent_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    error_type: str
    error: str

    @property
    def counted(self) -> int:
        return self.attempts - self.attempts_before


@dataclass(frozen=True, slots=True)
class Found:
    """An event in a list."""

    event_id: UUID
    event_type: str
    aggregate_id: str
    published_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events an operator wants; empty fields match all.

    Attributes:
        since, before: the time at which the event was published.
        sender_id: the id that the event has at its sender.
    """

    event_type: str | None = None
    aggregate_id: str | None = None
    since: datetime | None = None
    before: datetime | None = None
    limit: int = 50
    correlation_id: str | None = None
    sender_id: str | None = None


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One event, with everything that the ledger knows of it.

    Attributes:
        fanned_out: True if a relay fanned it out, or another program marked it so: `mark` tells which.
    """

    event_id: UUID
    event_type: str
    aggregate_id: str
    version: int
    schema_version: int
    occurred_at: datetime | None
    published_at: datetime | None
    fanned_out: bool
    mark: Mark
    data: str
    metadata: str
    deliveries: Sequence[DeliveryRecord]
    attempts: Sequence[AttemptRecord]
    actions: Sequence[ActionRecord]
    caused: Sequence[Found]

    @property
    def fan_out(self) -> str:
        """Say whether the event's fan-out was unusual; "" if it was not."""
        if not self.fanned_out:
            return "not yet fanned out: no handler has subscribed to it, or no relay runs"
        return _OF_MARK.get(self.mark, "")


_BY_OTHERS = "another program marked it as processed"
_OF_MARK = {
    Mark.NOT_YET: f"{_BY_OTHERS}, and no relay has looked at it since",
    Mark.ALL_THE_SAME: f"{_BY_OTHERS}; its handlers run all the same",
    Mark.LEFT: f"{_BY_OTHERS}, and it is left to that program",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened to an event, or to its delivery to `handler`; `who` is a worker or an operator."""

    at: datetime
    what: str
    handler: str = ""
    who: str = ""
    detail: str = ""


_OF_ATTEMPT = {Outcome.RETRY.value: "failed", Outcome.DEAD.value: "failed, dead", Outcome.HANDED_BACK.value: "lost"}
_OF_ACTION = {
    "replay": "replayed",
    "discard": "discarded",
    "restore": "restored",
    "retire": "discarded",
    "edit": "corrected",
}


def timeline(event: EventRecord) -> list[Moment]:
    """Return what happened, in order of time. Attempts have the numbers that a worker's log shows."""
    return sorted(_moments(event), key=lambda moment: moment.at)


def _moments(event: EventRecord) -> Iterator[Moment]:
    if event.published_at is not None:
        yield Moment(event.published_at, "published")
    for delivery in event.deliveries:
        if delivery.created_at is not None:
            yield Moment(delivery.created_at, "fanned out", delivery.handler, detail=f"queue {delivery.queue}")
        if delivery.state == State.SENT and delivery.sent_at is not None:
            yield Moment(delivery.sent_at, "sent", delivery.handler)
        if delivery.state in (State.RUNNING, State.SUCCEEDED) and delivery.started_at is not None:
            number = f"attempt {delivery.counted}"
            yield Moment(delivery.started_at, "started", delivery.handler, delivery.worker or "", number)
        if delivery.state == State.SUCCEEDED and delivery.finished_at is not None:
            yield Moment(delivery.finished_at, "succeeded", delivery.handler, delivery.worker or "")
        if delivery.state == State.DEAD and delivery.finished_at is not None and not delivery.attempts:
            yield Moment(delivery.finished_at, "dead", delivery.handler, detail=f"never sent: {delivery.error}")
        if delivery.state in (State.PENDING, State.PAUSED) and delivery.due_at == HELD:
            yield Moment(HELD, "waits", delivery.handler, detail="no living worker has its handler for this event")
        elif delivery.state == State.PENDING and delivery.due_at is not None:
            yield Moment(delivery.due_at, "due", delivery.handler)
        elif delivery.state == State.PAUSED and delivery.due_at is not None:
            yield Moment(delivery.due_at, "waits", delivery.handler, detail="its handler is paused")
    for attempt in event.attempts:
        number, worker = f"attempt {attempt.attempt}", attempt.worker or ""
        if attempt.started_at is not None:
            yield Moment(attempt.started_at, "started", attempt.handler, worker, number)
        outcome = _OF_ATTEMPT.get(attempt.outcome, attempt.outcome)
        error = first_line(f"{number}: {attempt.error_type}: {attempt.error}")
        yield Moment(attempt.ended_at, outcome, attempt.handler, worker, error)
    for action in event.actions:
        yield Moment(action.acted_at, _OF_ACTION.get(action.action, action.action), action.handler, action.actor)
    for caused in event.caused:
        if caused.published_at is not None:
            yield Moment(caused.published_at, "caused", detail=f"{caused.event_type} {caused.event_id}")
