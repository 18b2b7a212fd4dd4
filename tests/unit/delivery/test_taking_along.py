"""When deliveries that run side by side look for others."""

from itertools import pairwise

from events.delivery.taking_along import TAKES_ALONG, Looks
from events.ledger import ALONG_WITHIN


def times(looks: Looks, finds: list[bool]) -> list[float]:
    """When it looks, if each look takes no time and finds something or nothing."""
    now, seen = 0.0, []
    for found in finds:
        now += looks.wait(now)
        assert looks.is_due(now)
        seen.append(now)
        looks.looked(now, found)
    return seen


def test_looks_are_close_while_there_is_something_to_find() -> None:
    seen = times(Looks(0.0), [True] * 20)
    gaps = [round(after - before, 3) for before, after in pairwise(seen)]
    # Then the relay, which leaves deliveries to them for a while, is met in time, twice
    assert max(gaps) < ALONG_WITHIN.total_seconds() / 2


def test_looks_that_find_nothing_become_rare_and_are_close_again_once_one_finds_something() -> None:
    looks = Looks(0.0)
    seen = times(looks, [False] * 10)
    gaps = [round(after - before, 3) for before, after in pairwise(seen)]
    assert gaps == sorted(gaps)
    assert 0.05 < gaps[-1] <= 0.1
    last = seen[-1] + looks.wait(seen[-1])
    looks.looked(last, True)
    assert looks.wait(last) < 0.02


def test_it_takes_along_for_a_second() -> None:
    assert Looks(5.0).until == 5.0 + TAKES_ALONG == 6.0
