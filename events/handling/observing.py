"""What an application hears of its deliveries: `@around_handlers` and `@on_attempt`, for error trackers, metrics, and
context that log lines carry.

    @around_handlers
    def with_context(deliveries: Sequence[Delivery]) -> Iterator[None]:
        with structlog.contextvars.bound_contextvars(handler=deliveries[0].handler):
            yield

    @on_attempt
    def tell(attempt: Attempt) -> None:
        if attempt.is_final:
            tracker.report(attempt.error, event=attempt.delivery.event_id)

Both only listen. What they raise is logged, and changes nothing; nor can they keep a handler's error from being one.
"""

import inspect
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar

from events.errors import DefinitionError
from events.handling.arguments import place_of
from events.handling.kinds import Delivery
from events.handling.registry import handler_named
from events.hooks import Watcher
from events.ledger import Claim, Outcome, Result
from events.retry import RetryAfter
from events.throttle import Throttle

log = logging.getLogger("events.hooks")
_throttle = Throttle(log)


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that has ended, and whose outcome is committed.

    Attributes:
        delivery: which delivery, and the number of the attempt.
        outcome: "succeeded"; "retry"; "dead", a dead letter; "handed back", not counted, it comes again; "not ours",
            another attempt has the delivery.
        error: what the handler raised, with its traceback; None if it raised nothing.
        retry_in: the time until the next attempt, if the outcome is "retry".
        took: seconds in the handler, 0 if it wasn't called.
    """

    delivery: Delivery
    outcome: str
    error: BaseException | None
    retry_in: timedelta | None
    took: float

    @property
    def is_final(self) -> bool:
        """Whether the delivery is a dead letter now."""
        return self.outcome == Outcome.DEAD.value

    @property
    def has_failed(self) -> bool:
        """Whether the handler failed. A wish to be tried later (RetryAfter) is no failure, unless it is the last."""
        return self.is_final or (self.outcome == Outcome.RETRY.value and not isinstance(self.error, RetryAfter))


Around = Callable[[Sequence[Delivery]], AbstractContextManager[object]]
Function = TypeVar("Function", bound=Callable[..., Any])

_around: dict[object, Around] = {}
_on_attempt: dict[object, Callable[[Attempt], object]] = {}


def around_handlers(function: Function) -> Function:
    """Decorator: enter what this function returns around each call of a handler.

    It is called with the deliveries of the call, one unless the handler takes batches, in the handler's thread; for an
    `async def` handler in the task that runs it. It returns a context manager; a generator function is made one.

    Raises:
        DefinitionError: it isn't a plain function of one argument.
    """
    _check(function, "around_handlers", "the deliveries")
    is_generator = inspect.isgeneratorfunction(function)
    _around[_key(function)] = contextmanager(function) if is_generator else function
    return function


def on_attempt(function: Function) -> Function:
    """Decorator: call this function with each `Attempt` that ends in this process, in the thread that ran it.

    Raises:
        DefinitionError: it isn't a plain function of one argument.
    """
    _check(function, "on_attempt", "the attempt")
    if inspect.isgeneratorfunction(function):
        raise DefinitionError(f"@on_attempt at {place_of(function)} is a generator, so it would never run; no `yield`")
    _on_attempt[_key(function)] = function
    return function


class Observing(Watcher):
    """Lets the application's functions hear of this process's deliveries."""

    def around(self, claims: Sequence[Claim]) -> AbstractContextManager[None] | None:
        return _surrounded(claims) if _around else None

    def attempted(self, claim: Claim, result: Result, took: float) -> None:
        if not _on_attempt:
            return
        attempt = Attempt(_delivery(claim), result.outcome.value, result.error, result.due_in, took)
        for function in tuple(_on_attempt.values()):
            try:
                function(attempt)
            except Exception as error:
                _failed(function, error)


@contextmanager
def _surrounded(claims: Sequence[Claim]) -> Iterator[None]:
    deliveries = [_delivery(claim) for claim in claims]
    entered: list[tuple[Around, AbstractContextManager[object]]] = []
    for function in tuple(_around.values()):
        try:
            manager = function(deliveries)
            manager.__enter__()
            entered.append((function, manager))
        except Exception as error:
            _failed(function, error)
    raised: BaseException | None = None
    try:
        yield
    except BaseException as error:
        raised = error
        raise
    finally:
        for function, manager in reversed(entered):
            _leave(function, manager, raised)


def _leave(function: Around, manager: AbstractContextManager[object], raised: BaseException | None) -> None:
    """Leave it, whatever it makes of the handler's error."""
    trace: TracebackType | None = raised.__traceback__ if raised is not None else None
    try:
        manager.__exit__(type(raised) if raised is not None else None, raised, trace)
    except BaseException as error:
        if error is not raised and not isinstance(error, Exception):
            raise
        if error is not raised:
            _failed(function, error)


def _failed(function: Callable[..., Any], error: BaseException) -> None:
    _throttle.warn(f"{place_of(function)}: {type(error).__name__}: {error}")


def _delivery(claim: Claim) -> Delivery:
    handler, envelope = handler_named(claim.handler), claim.envelope
    return Delivery(
        event_id=envelope.id,
        event_type=envelope.event_type,
        handler=claim.handler,
        attempt=claim.attempt,
        max_attempts=handler.retry.max_attempts,
        worker=claim.worker,
        correlation_id=_correlation(envelope.metadata) or str(envelope.id),
    )


def _correlation(metadata: str) -> str:
    try:
        return str(json.loads(metadata).get("correlation_id") or "")
    except Exception:  # another program wrote the metadata, and they are not JSON
        return ""


def _check(function: Any, decorator: str, argument: str) -> None:
    if not callable(function) or isinstance(function, type):
        raise DefinitionError(f"@{decorator} belongs on a function of {argument}, without parentheses")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise DefinitionError(f"@{decorator} at {place_of(function)}: nothing awaits it; make it a plain `def`")
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise DefinitionError(f"@{decorator} at {place_of(function)}: it must take {argument} ({error})") from None


def _key(function: Any) -> object:
    """The same for a function of a module that is run again."""
    name = str(getattr(function, "__qualname__", "<"))
    return function if "<" in name else (getattr(function, "__module__", ""), name)
