"""What an application hears of its deliveries, and that it only listens."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from events import (
    Attempt,
    DefinitionError,
    Delivery,
    DomainEvent,
    Metadata,
    Retry,
    RetryAfter,
    around_handlers,
    handles,
    on_attempt,
    publish,
)
from events.handling import observing
from events.testing import InlinePipeline


class Observed(DomainEvent):
    do: str = ""


class ObservedTogether(DomainEvent): ...


heard: list[Any] = []


@pytest.fixture(autouse=True)
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has its own listeners."""
    monkeypatch.setattr(observing, "_around", {})
    monkeypatch.setattr(observing, "_on_attempt", {})
    heard.clear()


@handles(Observed, retry=Retry(max_attempts=2))
def is_observed(event: Observed) -> None:
    heard.append("runs")
    if event.do == "fail":
        raise LookupError("no such shelf")
    if event.do == "later":
        raise RetryAfter(1, "closed")


@handles(Observed, name="is_observed_awaiting", retry=Retry(max_attempts=2))
async def is_observed_awaiting(event: Observed) -> None: ...


@handles(ObservedTogether, batch=10)
def is_observed_together(events: list[ObservedTogether]) -> None: ...


def of(attempts: Sequence[Attempt], handler: Callable[..., Any]) -> list[Attempt]:
    return [one for one in attempts if one.delivery.handler == handler.__name__]


def test_each_attempt_is_told_with_its_outcome(events_pipeline: InlinePipeline) -> None:
    attempts: list[Attempt] = []
    on_attempt(attempts.append)
    # When one goes well, one fails until it is dead, and one asks to be tried later
    publish([Observed(do=do, metadata=Metadata(correlation_id="request-7")) for do in ("", "fail", "later")])
    events_pipeline.run()
    told = of(attempts, is_observed)
    # Then each attempt has its outcome
    assert sorted((one.outcome, one.delivery.attempt, one.is_final, one.has_failed) for one in told) == [
        ("dead", 2, True, True),
        ("dead", 2, True, True),
        ("retry", 1, False, False),
        ("retry", 1, False, True),
        ("succeeded", 1, False, False),
    ]
    # And what was raised, and names the delivery
    failed = [one for one in told if isinstance(one.error, LookupError)]
    assert all(one.error is not None and one.error.__traceback__ is not None for one in failed)
    assert {one.delivery.correlation_id for one in told} == {"request-7"}
    assert {(one.delivery.event_type, one.delivery.max_attempts) for one in told} == {("Observed", 2)}
    assert {one.outcome for one in of(attempts, is_observed_awaiting)} == {"succeeded"}


def test_handlers_are_surrounded(events_pipeline: InlinePipeline) -> None:
    @around_handlers
    def by_generator(deliveries: Sequence[Delivery]) -> Iterator[None]:
        heard.append([one.handler for one in deliveries])
        yield
        heard.append("left")

    publish(Observed())
    publish([ObservedTogether(), ObservedTogether()])
    events_pipeline.run()
    runs = heard.index("runs")
    assert heard[runs - 1 : runs + 2] == [["is_observed"], "runs", "left"]
    assert ["is_observed_awaiting"] in heard
    assert ["is_observed_together"] * 2 in heard
    assert heard.count("left") == 3


def test_who_listens_can_change_nothing(events_pipeline: InlinePipeline, caplog: pytest.LogCaptureFixture) -> None:
    # Given one that swallows errors, some that fail, each in its own way, and one that works
    @around_handlers
    @contextmanager
    def swallows(_: Sequence[Delivery]) -> Iterator[None]:
        try:
            yield
        except LookupError:
            heard.append("swallowed")

    @around_handlers
    def fails_at_the_end(_: Sequence[Delivery]) -> Iterator[None]:
        yield
        raise ValueError("at the end")

    @around_handlers
    def fails_first(_: Sequence[Delivery]) -> Iterator[None]:
        raise ValueError("first")

    attempts: list[Attempt] = []

    @on_attempt
    def fails(attempt: Attempt) -> None:
        raise ValueError("after it")

    on_attempt(attempts.append)
    # When a handler fails, and another goes well
    publish([Observed(do="fail"), Observed()])
    with caplog.at_level(logging.WARNING, logger="events.hooks"):
        events_pipeline.run()
    # Then both have their own outcomes
    outcomes = [one.outcome for one in of(attempts, is_observed)]
    assert sorted(outcomes) == ["dead", "retry", "succeeded"]
    assert "swallowed" in heard
    # And the log names who failed, by file and line
    assert "test_observing.py:" in caplog.text


async def awaits(_: Any) -> None: ...


def takes_none() -> None: ...


def makes(_: Any) -> Iterator[None]:
    yield


@pytest.mark.parametrize(
    ("decorator", "function", "why"),
    [
        (on_attempt, awaits, "nothing awaits it"), (around_handlers, awaits, "nothing awaits it"),
        (on_attempt, takes_none, "must take the attempt"), (around_handlers, takes_none, "must take the deliveries"),
        (on_attempt, makes, "is a generator"), (on_attempt, 7, "without parentheses"),
        (around_handlers, Observed, "without parentheses"),
    ],
)  # fmt: skip
def test_what_can_not_listen_is_refused_where_it_is_written(decorator: Any, function: Any, why: str) -> None:
    with pytest.raises(DefinitionError, match=why):
        decorator(function)


def test_a_module_that_is_run_again_listens_once() -> None:
    on_attempt(awaits_nothing)
    on_attempt(awaits_nothing)
    assert len(observing._on_attempt) == 1


def awaits_nothing(_: Attempt) -> None: ...
