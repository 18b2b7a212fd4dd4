"""An operator at work all the while: pauses, resumes, replays, discards, restores, prunes.

    python -m rigs.chaos.operations FILE SEED

Lines in FILE: `discarding ID` before, and `restored ID` after a dead letter was brought back: then it must be there.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from types import FrameType
from uuid import UUID

from events.current_pipeline import get_pipeline
from events.ledger import DeadLetterFilter
from events.pipeline import Pipeline
from rigs.chaos.application import HOPELESS

PAUSED = ("book", "fails_now_and_then", "writes_as_its_tenant", "publishes")
ACTOR = "chaos"
FEW = 5  # dead letters at a time
PRUNED_AFTER = timedelta(seconds=8)


class _Ended(BaseException):
    pass


def main(path: str, seed: int) -> None:
    dice = random.Random(seed * 1_000_003 + os.getpid())
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    signal.signal(signal.SIGTERM, _end)
    work = _Work(get_pipeline(), dice, lambda line: os.write(descriptor, f"{line}\n".encode()))
    try:
        _insisting(work.resume_all)
        while True:
            time.sleep(dice.uniform(0.2, 1.5))
            try:
                dice.choice([work.pause_for_a_while, work.replay, work.discard, work.restore, work.prune])()
            except Exception as error:
                print(f"did not work: {type(error).__name__}: {str(error).splitlines()[:1]}", flush=True)
    except _Ended:
        _insisting(work.resume_all)


def _end(_: int, __: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Ended


def _insisting(action: Callable[[], None]) -> None:
    while True:
        try:
            return action()
        except Exception as error:
            print(f"again: {type(error).__name__}: {str(error).splitlines()[:1]}", flush=True)
            time.sleep(0.5)


class _Work:
    def __init__(self, pipeline: Pipeline, dice: random.Random, note: Callable[[str], object]) -> None:
        self._pipeline = pipeline
        self._dice = dice
        self._note = note
        self._discarded: list[UUID] = []

    def resume_all(self) -> None:
        known = {one.handler for one in self._pipeline.upkeep.handlers()}
        for handler in known.intersection(PAUSED):
            self._pipeline.upkeep.resume(handler, ACTOR)

    def pause_for_a_while(self) -> None:
        handler = self._dice.choice(PAUSED)
        self._pipeline.upkeep.pause(handler, ACTOR)
        try:
            time.sleep(self._dice.uniform(0.1, 2))
        finally:
            _insisting(lambda: self._pipeline.upkeep.resume(handler, ACTOR) and None)

    def replay(self) -> None:
        self._pipeline.dead_letters.replay(DeadLetterFilter(handler=HOPELESS, limit=FEW), ACTOR)

    def discard(self) -> None:
        for letter in self._pipeline.dead_letters.find(DeadLetterFilter(handler=HOPELESS, limit=FEW)):
            self._note(f"discarding {letter.event_id}")
            self._discarded.append(letter.event_id)
            self._pipeline.dead_letters.discard(DeadLetterFilter(event_ids=(letter.event_id,), handler=HOPELESS), ACTOR)

    def restore(self) -> None:
        """Some that may just be pruned."""
        some, self._discarded = self._discarded[:FEW], self._discarded[FEW:]
        for event_id in some:
            wanted = DeadLetterFilter(event_ids=(event_id,), handler=HOPELESS)
            if self._pipeline.dead_letters.restore(wanted, ACTOR):
                self._note(f"restored {event_id}")

    def prune(self) -> None:
        for _ in self._pipeline.ledger.retention.prune(PRUNED_AFTER, 50):
            pass


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
