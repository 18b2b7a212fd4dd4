"""What takes long takes a twentieth of the time."""

import time

from events.ration import Ration


def test_what_is_cheap_may_be_done_again_at_once() -> None:
    ration = Ration()
    ration.took(0.0005)
    assert ration.wait == 0


def test_what_takes_long_waits_for_twenty_times_as_long() -> None:
    ration = Ration()
    begun = time.monotonic()
    ration.took(10)
    assert 199 < ration.wait + (time.monotonic() - begun) <= 201
    # And when it was cheap the last time, all is as before
    ration.took(0)
    assert ration.wait == 0
