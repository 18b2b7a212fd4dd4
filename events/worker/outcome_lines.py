"""Log lines that tell the outcome of deliveries, a line for each message, instead of Celery's two lines for its task.

The lines go to Celery's logger for the end of a task. Programs that listen to that logger still hear of each end, and
a program that ignores it because it learns of failures by other ways (Sentry) is not told twice.
"""

import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from celery import current_task, signals
from celery.worker.strategy import default

from events.errors import DeliveryFailed
from events.handling import Handler, handler_named
from events.hooks import Ended, Watcher
from events.ledger import Claim, Outcome, described, line_of
from events.retry import RetryAfter
from events.text import brief
from events.throttle import Repeats

END_OF_TASK = "celery.app.trace"
CLAIMS = "_claims"  # the field of a record that holds its deliveries; formatters leave out names with an underscore

log = logging.getLogger(END_OF_TASK)
_received = logging.getLogger("celery.worker.strategy")


class OutcomeLines(Watcher):
    """A success is info, a failed attempt a warning, a dead letter an error. Repeats shortens lines that are alike."""

    def __init__(self) -> None:
        self._repeats = Repeats(log)
        log.addFilter(_is_wanted)
        for ends in (signals.worker_process_shutdown, signals.worker_shutdown):
            ends.connect(self._flush)

    def ended(self, attempts: Sequence[Ended]) -> None:
        handler = handler_named(attempts[0][0].handler)
        if log.isEnabledFor(logging.INFO):
            self._quiet(handler, attempts)
        for claim, result, _ in attempts:
            if result.outcome is Outcome.DEAD and result.error is not None:
                self._dead(handler, claim, result.error)
            elif result.outcome is Outcome.RETRY and result.error is not None and result.due_in is not None:
                self._failed(handler, claim, result.error, result.due_in.total_seconds())

    def _quiet(self, handler: Handler, attempts: Sequence[Ended]) -> None:
        """Log the outcomes that need no attention."""
        for outcome in (Outcome.SUCCEEDED, Outcome.HANDED_BACK, Outcome.NOT_OURS):
            ended = [attempt for attempt in attempts if attempt[1].outcome is outcome]
            if not ended:
                continue
            claims, took = [claim for claim, _, _ in ended], sum(seconds for _, _, seconds in ended)
            word = "ok" if outcome is Outcome.SUCCEEDED else outcome.value
            error = next((result.error for _, result, _ in ended if result.error is not None), None)
            why = f": {_first_line(error)}" if error is not None else ""
            extra = {CLAIMS: claims, "outcome": outcome.value, "seconds": round(took, 6)}
            log.info("%s -> %s %s %s%s", _subject(claims), handler.name, word, _shown(took), why, extra=extra)

    def _failed(self, handler: Handler, claim: Claim, error: BaseException, wait: float) -> None:
        extra = {CLAIMS: [claim], "outcome": Outcome.RETRY.value}
        subject = f"{_subject([claim])} -> {handler.name}"
        if isinstance(error, RetryAfter):
            log.info("%s asks to be tried again in %s: %s", subject, _shown(wait), _first_line(error), extra=extra)
            return
        place = line_of(error, handler.home)
        failed = f"{subject} failed, attempt {claim.attempt} of {handler.retry.max_attempts}"
        why = f"{_first_line(error)} ({place or handler.defined_at})"
        line, later = f"{failed}, again in {_shown(wait)}: {why}", f"{failed}: {why}"
        self._repeats.warn((handler.name, type(error), place), line, error, extra, later)

    def _dead(self, handler: Handler, claim: Claim, error: BaseException) -> None:
        place = line_of(error, handler.home)
        is_new = self._repeats.is_new((handler.name, type(error), place))
        log.error(
            "%s -> %s is a dead letter, attempt %d of %d: %s (%s); see `events dead show %s`",
            _subject([claim]),
            handler.name,
            claim.attempt,
            handler.retry.max_attempts,
            _first_line(error),
            place or handler.defined_at,
            claim.envelope.id,
            exc_info=error if is_new else None,
            extra={CLAIMS: [claim], "outcome": Outcome.DEAD.value},
        )

    def _flush(self, **_: Any) -> None:
        self._repeats.flush()


def tell_not_ours(handler: str, event_ids: Sequence[UUID]) -> None:
    """Log that these wake-ups were not needed: their deliveries are done already, or another attempt has them."""
    if event_ids:
        which = str(event_ids[0]) if len(event_ids) == 1 else f"{len(event_ids)} deliveries"
        log.info("%s -> %s not ours: done already, or another attempt has it", which, handler, extra={CLAIMS: ()})


def receive_quietly(task: Any, app: Any, consumer: Any, **options: Any) -> Any:
    """Celery's strategy, except that it logs the arrival of a message at level DEBUG. DeliveryTask names it."""
    return default(task, app, consumer, info=_received.debug, **options)


def _is_wanted(record: logging.LogRecord) -> bool:
    """Whether to log this record: Celery's lines about the end of a delivery are left out, but not its other errors."""
    if hasattr(record, CLAIMS) or getattr(current_task, "pipeline", None) is None:
        return True
    error = record.exc_info[1] if record.exc_info else None
    return record.levelno > logging.INFO and not isinstance(error, DeliveryFailed)


def _subject(claims: Sequence[Claim]) -> str:
    kinds = {claim.envelope.event_type for claim in claims}
    kind = kinds.pop() if len(kinds) == 1 else "events"
    return f"{kind} {claims[0].envelope.id}" if len(claims) == 1 else f"{len(claims)} {kind}"


def _first_line(error: BaseException) -> str:
    return brief(described(error).strip())


def _shown(seconds: float) -> str:
    if seconds >= 10:
        return f"{seconds:.0f} s"
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.{0 if seconds >= 0.01 else 1}f} ms"
