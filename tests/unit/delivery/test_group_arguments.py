"""What can be wrong with `batch`, `linger` and `group`, and with a batch handler's parameters, is found at import."""

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from events import DefinitionError, Delivery, DomainEvent, handles
from events.handling.kinds import Wanted
from events.handling.registry import handler_named


class Counted(DomainEvent):
    pass


class Weighed(DomainEvent):
    pass


def takes_events(events: list[Counted]) -> None: ...


@pytest.mark.parametrize("batch", [0, 1, -5, 1001, 2.5, "10", True])
def test_a_batch_has_2_to_1000_events(batch: Any) -> None:
    with pytest.raises(DefinitionError, match=r"'many' \(.*py:\d+\): batch=" + re.escape(repr(batch)) + ".*2 to 1000"):
        handles(Counted, name="many", batch=batch)(takes_events)


@pytest.mark.parametrize("linger", [-1, timedelta(seconds=-1), 3601, timedelta(hours=2)])
def test_a_batch_lingers_up_to_an_hour(linger: Any) -> None:
    with pytest.raises(DefinitionError, match=r"'many' \(.*py:\d+\): linger=.*0 to one hour"):
        handles(Counted, name="many", batch=10, linger=linger)(takes_events)


def test_only_batches_linger() -> None:
    with pytest.raises(DefinitionError, match=r"'one' \(.*py:\d+\): linger is for batch handlers; say batch="):

        @handles(Counted, linger=0.5)
        def one(event: Counted) -> None: ...


def test_what_they_mean_for_a_handler() -> None:
    @handles(Counted, batch=2, linger=timedelta(minutes=1))
    def small(events: list[Counted]) -> None: ...

    @handles(Counted, batch=1000, linger=0.05)
    def large(events: list[Counted]) -> None: ...

    @handles(Counted)
    def plain(event: Counted) -> None: ...

    @handles(Counted, group=False)
    def single(event: Counted) -> None: ...

    found = [handler_named(name) for name in ("small", "large", "plain", "single")]
    assert [(one.most, one.batch, one.linger.total_seconds()) for one in found] == [
        (2, True, 60), (1000, True, 0.05), (50, False, 0), (1, False, 0),
    ]  # fmt: skip


def test_a_batch_handler_asks_for_lists() -> None:
    @handles(Counted, Weighed, batch=10)
    def all_of_it(
        events: list[Counted | Weighed],
        base: Sequence[DomainEvent],
        deliveries: list[Delivery],
        connection: Connection,
        session: Session,
        extra: int = 7,
    ) -> None: ...

    assert list(handler_named("all_of_it").wants.values()) == [
        Wanted.EVENTS, Wanted.EVENTS, Wanted.DELIVERIES, Wanted.CONNECTION, Wanted.SESSION,
    ]  # fmt: skip


def one_event(event: Counted) -> None: ...
def one_delivery(events: list[Counted], delivery: Delivery) -> None: ...
def other_events(events: list[Weighed]) -> None: ...
def bare_list(events: list) -> None: ...  # type: ignore[type-arg]
def tuple_of_them(events: tuple[Counted, ...]) -> None: ...
def sessions(events: list[Counted], sessions: list[Session]) -> None: ...
def unannotated(events) -> None: ...  # noqa: ANN001
def positional(events: list[Counted], /) -> None: ...


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (one_event, r"parameter 'event' is .*Counted.*batch handler can ask for .*list\[Counted"),
        (one_delivery, r"parameter 'delivery' is .*Delivery.* or list\[Delivery\]"),
        (other_events, r"parameter 'events' is list\[.*Weighed\].*list\[Counted"),
        (bare_list, r"parameter 'events' is .*list.*list\[Counted"),
        (tuple_of_them, r"parameter 'events' is tuple.*list\[Counted"),
        (sessions, r"parameter 'sessions' is list\[.*Session\].*can't be injected"),
        (unannotated, r"parameter 'events' has no annotation; say what it is: list\[Counted"),
        (positional, r"parameter 'events' is positional-only"),
    ],
)
def test_what_a_batch_handler_cant_get_is_named_with_the_cure(function: Callable[..., None], says: str) -> None:
    with pytest.raises(DefinitionError, match=r"(?s)'wrong' \(.*test_group_arguments\.py:\d+\): " + says):
        handles(Counted, name="wrong", batch=10)(function)


def list_of_them(event: list[Counted]) -> None: ...
def deliveries(event: Counted, deliveries: list[Delivery]) -> None: ...


@pytest.mark.parametrize("function", [list_of_them, deliveries])
def test_lists_are_for_batch_handlers(function: Callable[..., None]) -> None:
    with pytest.raises(DefinitionError, match=r"parameter '\w+' is .*list.*can't be injected"):
        handles(Counted, name="wrong")(function)
