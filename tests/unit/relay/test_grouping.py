"""Which due deliveries share a message."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from uuid import UUID

import pytest

from events.ledger.records import ALONG_WITHIN, GROUP_TIME, ONE_BY_ONE, Due, Group, Pace, Wakeup
from events.relay.grouping import make_groups

FAST = Pace(most=50, seconds=GROUP_TIME / 1000)
FULL = Pace(most=10, batch=True)
ALONG = Pace(most=10, batch=True, linger=ALONG_WITHIN)
LINGERS = Pace(most=10, batch=True, linger=timedelta(seconds=2))


def due(count: int, handler: str = "a", *, first: int = 0, age: float = 0.0, alone: bool = False) -> list[Due]:
    """That many deliveries, numbered on from `first`."""
    return [Due(Wakeup(UUID(int=first + index), handler, "q", 1), age, alone) for index in range(count)]


def taken_in_turns(*lines: list[Due]) -> list[Due]:
    waiting: list[Iterator[Due]] = [iter(line) for line in lines]
    return [one for turn in zip(*waiting, strict=True) for one in turn]


def sizes(
    found: list[Due], pace: Pace, in_flight: Mapping[str, int] | None = None, room: int | None = None
) -> list[int]:
    return [len(group) for group in make_groups(found, {"a": pace}, in_flight or {}, room)]


def numbers(groups: list[Group]) -> list[list[int]]:
    return [[wakeup.event_id.int for wakeup in group] for group in groups]


def test_nothing_due_is_no_message() -> None:
    assert make_groups([], {"a": FAST}, {}) == []


def test_a_message_holds_one_handler_in_the_order_in_which_deliveries_are_due() -> None:
    # Given deliveries of two handlers in turns
    found = taken_in_turns(due(8, "a"), due(8, "b", first=100))
    # When they are grouped
    groups = make_groups(found, {"a": FAST, "b": FAST}, {})
    # Then no message is of two, each keeps the order, and the messages are in the order of their first deliveries
    assert {len({wakeup.handler for wakeup in group}) for group in groups} == {1}
    assert numbers(groups) == [[0, 1], [100, 101], [2, 3], [102, 103], [4, 5], [104, 105], [6, 7], [106, 107]]


def test_every_delivery_is_in_exactly_one_message() -> None:
    found = taken_in_turns(due(97, "a"), due(97, "b", first=1000))
    groups = make_groups(found, {"a": FAST, "b": Pace()}, {})
    assert sorted(number for group in numbers(groups) for number in group) == [*range(97), *range(1000, 1097)]


@pytest.mark.parametrize(
    ("seconds", "size"),
    [
        (0.0, 50),
        (GROUP_TIME / 1000, 50),
        (GROUP_TIME / 20.5, 20),
        (GROUP_TIME / 2.5, 2),
        (GROUP_TIME, 1),
        (GROUP_TIME * 1.5, 1),
        (3600.0, 1),
        (ONE_BY_ONE, 1),
    ],
)
def test_a_message_holds_what_the_handler_does_in_the_groups_time(seconds: float, size: int) -> None:
    found = sizes(due(400), Pace(most=50, seconds=seconds))
    assert set(found) == {size}
    assert sum(found) == 400


@pytest.mark.parametrize(
    ("count", "most"), [(1, 1), (2, 1), (4, 1), (5, 1), (8, 2), (9, 2), (20, 5), (199, 49), (201, 50)]
)
def test_what_is_not_many_makes_at_least_four_messages(count: int, most: int) -> None:
    found = sizes(due(count), FAST)
    assert (max(found), sum(found)) == (most, count)
    assert len(found) >= min(count, 3 if count == 5 else 4)  # five in pairs are three messages


def test_of_an_untried_handler_only_so_many_are_on_the_way_and_each_by_itself() -> None:
    untried = Pace(most=50)
    assert sizes(due(400), untried) == [1] * 32
    assert sizes(due(400), untried, {"a": 30}) == [1, 1]
    assert sizes(due(400), untried, {"a": 32}) == []
    assert sizes(due(400), untried, {"a": 400}) == []
    # What others have on the way is no reason
    assert sizes(due(400), untried, {"b": 400}) == [1] * 32


def test_when_nobody_tries_it_for_long_the_rest_is_sent_too_each_by_itself() -> None:
    untried = {"a": Pace(most=50), "b": Pace(most=50)}
    groups = make_groups(due(400) + due(400, "b", first=400), untried, {}, waited_for={"a"})
    assert Counter(group[0].handler for group in groups) == {"a": 400, "b": 32}
    assert {len(group) for group in groups} == {1}


def test_an_untried_handler_doesnt_hold_up_another() -> None:
    found = due(40, "a") + due(40, "b", first=100)
    groups = make_groups(found, {"a": Pace(most=50), "b": FAST}, {"a": 32})
    assert {group[0].handler for group in groups} == {"b"}
    assert sum(map(len, groups)) == 40


def test_what_is_marked_alone_is_sent_by_itself_and_in_its_turn() -> None:
    # Given one that is marked among others
    found = due(8) + due(1, first=8, alone=True) + due(8, first=9)
    # Then it shares no message, and the others do
    assert numbers(make_groups(found, {"a": FAST}, {})) == [
        [0, 1, 2, 3], [4, 5, 6, 7], [8], [9, 10, 11, 12], [13, 14, 15, 16],
    ]  # fmt: skip


@pytest.mark.parametrize("pace", [FAST, FULL, LINGERS, Pace(most=50), Pace()])
def test_many_that_are_marked_alone_are_all_sent(pace: Pace) -> None:
    assert sizes(due(100, alone=True), pace, {"a": 1000}) == [1] * 100


@pytest.mark.parametrize("seconds", [None, 0.0, 5.0])
def test_a_handler_that_opted_out_is_never_grouped_and_never_held_back(seconds: float | None) -> None:
    assert sizes(due(100), Pace(most=1, seconds=seconds), {"a": 1000}) == [1] * 100


def test_a_handler_without_a_subscription_is_never_grouped() -> None:
    assert [len(group) for group in make_groups(due(100), {}, {})] == [1] * 100


@pytest.mark.parametrize("seconds", [None, 5.0])
def test_a_batch_is_filled_whatever_the_pace_and_never_held_back(seconds: float | None) -> None:
    pace = Pace(most=10, batch=True, seconds=seconds)
    assert sizes(due(35), pace, {"a": 1000}) == [10, 10, 10, 5]
    assert sizes(due(1), pace) == [1]


def test_a_batch_that_lingers_waits_for_more() -> None:
    # Given more than a batch; Then only whole ones are sent
    assert sizes(due(9, age=1.9), LINGERS) == []
    assert sizes(due(10), LINGERS) == [10]
    assert numbers(make_groups(due(25), {"a": LINGERS}, {})) == [[*range(10)], [*range(10, 20)]]


def test_a_batch_that_has_lingered_long_enough_is_sent_with_what_there_is() -> None:
    # Given one that is due long enough, with some that are not; Then all are sent
    assert sizes(due(1, age=2.0) + due(3, first=1), LINGERS) == [4]
    # Given that only those have waited which fill a batch; Then the rest still waits
    assert sizes(due(10, age=5) + due(3, first=10), LINGERS) == [10]
    assert sizes(due(11, age=5) + due(3, first=11), LINGERS) == [10, 4]


def test_what_is_marked_alone_fills_no_batch_and_waits_for_none() -> None:
    assert sizes(due(1, alone=True) + due(9, first=1), LINGERS) == [1]
    assert sizes(due(1, alone=True) + due(10, first=1), LINGERS) == [1, 10]


def test_there_are_as_many_messages_as_there_is_room_for_the_earliest_first() -> None:
    found = taken_in_turns(due(8, "a"), due(8, "b", first=100))
    paces = {"a": FAST, "b": FAST}
    assert numbers(make_groups(found, paces, {}, 3)) == [[0, 1], [100, 101], [2, 3]]
    assert len(make_groups(found, paces, {}, 100)) == 8
    assert make_groups(found, paces, {}, 0) == []


def test_what_a_running_process_may_take_along_waits_a_moment_for_that() -> None:
    late = ALONG_WITHIN.total_seconds() * 1.01
    # Given a handler whose deliveries are taken along by those that run, but none runs: then they are sent at once
    assert sizes(due(3), ALONG) == [3]
    assert sizes(due(3), ALONG, {"b": 5}) == [3]
    # And if some do, then only what nobody has taken, or what fills a message
    assert sizes(due(3), ALONG, {"a": 1}) == []
    assert sizes(due(3, age=late), ALONG, {"a": 1}) == [3]
    assert sizes(due(12), ALONG, {"a": 1}) == [10]
    # And one that must run alone waits for nobody
    assert sizes(due(1, alone=True), ALONG, {"a": 1}) == [1]
