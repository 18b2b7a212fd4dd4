"""Random programs of handlers, run as plain and as `async def` handlers: the same outcomes, effects and events."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from events import publish
from events.testing import InlinePipeline
from support.awaited import (
    AwaitedConnection,
    AwaitedSession,
    PlainConnection,
    PlainSession,
    Program,
    Step,
    awaiting,
    row,
    told,
    written,
)
from support.exploring import SECONDS, explore, long_enough

AT_ONCE = 12  # programs that run side by side
OF_BOTH = ["write", "write", "write", "read", "publish", "publish in it", "pause", "fail in sql", "fail", "end in sql",
           "commit", "rollback", "close"]  # fmt: skip
OF_SESSIONS = [*OF_BOTH, "flush"]
pytestmark = long_enough


def program(choices: random.Random, words: Sequence[str], depth: int = 2) -> list[Step]:
    """Steps, of which those in the middle of it are mostly harmless, so that much goes well."""
    steps: list[Step] = []
    for _ in range(choices.randint(1, 5)):
        if depth and choices.random() < 0.3:
            steps.append([choices.choice(["savepoint", "hide"]), program(choices, words, depth - 1)])
        elif choices.random() < 0.75:
            steps.append(choices.choice(words[:7]))
        else:
            steps.append(choices.choice(words))
    return steps


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_a_program_does_the_same_awaited(url: str, driver: str) -> None:
    if url.startswith("sqlite") and driver == "asyncpg":
        pytest.skip("SQLite has a driver of its own")
    with awaiting(url, driver, async_connections=3) as pipeline:
        explore(lambda seed: _round(pipeline, seed))


def _round(pipeline: InlinePipeline, seed: int) -> None:
    choices = random.Random(seed)
    kinds: list[tuple[type[Program], type[Program], list[str]]] = [
        (PlainSession, AwaitedSession, OF_SESSIONS),
        (PlainConnection, AwaitedConnection, OF_BOTH),
    ]
    # Given random programs, each for a plain handler and for one that awaits
    pairs: list[tuple[Program, Program]] = []
    for number in range(AT_ONCE):
        for plain, awaited, words in kinds:
            steps = program(choices, words)
            place = f"{seed}.{number}.{plain.__name__}"
            pairs.append((plain(place=f"{place}/p", steps=steps), awaited(place=f"{place}/a", steps=steps)))
    # When all are run
    publish([event for pair in pairs for event in pair])
    pipeline.run()
    # Then what both have done is the same
    for plain_one, awaited_one in pairs:
        assert _found(awaited_one) == _found(plain_one), f"{plain_one.steps}"
    # And all connections are back
    assert pipeline.ledger.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def _found(event: Program) -> dict[str, Any]:
    """All but the error, which each driver names in its own way."""
    ended = row(event)
    return {
        "state": ended.state,
        "attempts": ended.attempts - ended.attempts_before,
        "effects": written(event.place),
        "events": told(event.place),
    }


if SECONDS:
    AT_ONCE = 40
