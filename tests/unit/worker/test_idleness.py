"""When a worker that is connected gets nothing, though messages wait: what it passes on or parks is movement, too."""

import pytest

from events.settings.settings import Settings
from events.worker.idleness import Idleness


@pytest.mark.parametrize(("put_aside", "silent"), [(0, True), (1, False)])
def test_a_worker_that_only_passes_on_what_others_have_is_not_silent(
    monkeypatch: pytest.MonkeyPatch, put_aside: int, silent: bool
) -> None:
    # Given a worker without a task of its own, and messages that wait
    count = [0]
    idleness = Idleness(Settings(broker_url=""), lambda: ["q"], lambda: count[0])
    monkeypatch.setattr(idleness, "_messages_wait", lambda: True)
    idleness.look()
    # When between two looks it passes on a message, or none
    for _ in range(2):
        count[0] += put_aside
        idleness.look()
    # Then it is silent only if it did nothing
    assert (idleness._since is not None) is silent
