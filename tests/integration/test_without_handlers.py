"""EVENTS_HANDLERS that defines no handler is legal, and each face says so: its events would wait without a word."""

from pathlib import Path

from support.operator import Operator
from support.system import System

NONE = "EVENTS_HANDLERS=colorsys defines no handler"  # a module of Python's own


def test_a_worker_without_handlers_says_so_when_it_starts(tmp_path: Path) -> None:
    # Given a worker whose settings name a module without handlers, when it starts
    with System("sqlite", tmp_path).in_use() as system:
        worker = system.start_worker("solo", handlers="colorsys")
        # Then it says so
        worker.wait_for(NONE)
        assert worker.stop() == 0


def test_the_commands_say_so_too(tmp_path: Path) -> None:
    # Given a ledger that nobody has subscribed to
    operator = Operator(f"sqlite:///{tmp_path / 'events.db'}", EVENTS_HANDLERS="colorsys")
    operator.sees("migrate")
    # Then those who look for handlers are told where they should be
    assert "EVENTS_HANDLERS (colorsys)" in operator.runs("handlers", "list").stderr
    done = operator.runs("catalog")
    assert (done.returncode, NONE in done.stderr) == (0, True)
