"""What of billiard we lean on: it has no documentation of its own but multiprocessing's."""

import signal

import billiard
import billiard.common
import billiard.pool
import pytest

from support.seam_checks import Library

BILLIARD = Library("billiard")


def test_a_child_waits_at_its_end_as_long_as_a_number_says() -> None:
    leans = "a child's end: it waits a second for the main process, and not half a minute"
    number = BILLIARD.has(billiard.pool, "GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT", leans)
    interval = BILLIARD.has(billiard.pool, "GUARANTEE_MESSAGE_CONSUMPTION_RETRY_INTERVAL", leans)
    BILLIARD.keeps((number, interval) == (300, 0.1), "it counts in tenths of a second", leans)
    BILLIARD.says(billiard.pool.Worker, "range(GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT)", leans=leans)


def test_children_are_numbered() -> None:
    BILLIARD.says(billiard.pool.Pool._create_worker_process, "w.index = i", leans="the places in which children count")
    assert not hasattr(billiard.current_process(), "index")  # the main process has none


def test_a_child_sets_its_signals_by_one_function() -> None:
    leans = "signals to a whole worker, of which the main process decides"
    BILLIARD.takes(billiard.common, "reset_signals", ["handler", "full"], leans)
    BILLIARD.takes(billiard.common, "_shutdown_cleanup", ["signum", "frame"], leans)
    source = "if self.initializer is not None: self.initializer(*self.initargs)"
    BILLIARD.says(billiard.pool.Worker.after_fork, source, "reset_signals(full=self.sigprotection)", leans=leans)
    assert {"SIGHUP", "SIGQUIT"} < billiard.common.TERMSIGS_DEFAULT


def test_a_child_that_ends_can_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    leans = "SystemExit in a handler: the pool's end is no failure of its own"
    # Given a child that was told to end by a signal
    told = BILLIARD.has(billiard.common, "terminate_handler_fired", leans)
    monkeypatch.setattr(billiard.common, "_should_have_exited", [False])
    monkeypatch.setattr(billiard.common, "maybe_setsignal", lambda *_: None)
    assert not told()
    # When it raises SystemExit for that, then it says so
    with pytest.raises(SystemExit):
        billiard.common._shutdown_cleanup(signal.SIGTERM, None)
    BILLIARD.keeps(told(), "a child that was told to end says so", leans)
