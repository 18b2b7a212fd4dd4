"""What `events prune` leaves of the time to live work."""

import time
from collections.abc import Iterator

import pytest

from events.cli.prune import paced
from events.ledger import Pruned


@pytest.mark.parametrize(("share", "rests"), [(0.25, 3.0), (0.5, 1.0), (1.0, 0.0)])
def test_a_rest_is_as_long_as_the_share_says(monkeypatch: pytest.MonkeyPatch, share: float, rests: float) -> None:
    # Given batches that take 1, 2 and 4 seconds by a clock of ours
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    def batches() -> Iterator[Pruned]:
        for seconds in (1, 2, 4):
            now[0] += seconds
            yield Pruned(events=seconds)

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", sleep)
    # When they are pruned, then none is lost, and each is followed by its rest
    assert list(paced(batches(), share)) == [Pruned(events=1), Pruned(events=2), Pruned(events=4)]
    assert slept == [rests, 2 * rests, 4 * rests]
