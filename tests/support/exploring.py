"""How long the random programs of tests/machines go on: a moment in `scripts/test`, an hour under `scripts/explore`."""

import os
import random
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import seed as seeded
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

SECONDS = float(os.environ.get("EVENTS_TEST_SECONDS", "0"))  # 0: the short form, one round


def explore(round_of: Callable[[int], None]) -> None:
    """Call `round_of` with one seed after another until the time is up, and once at least.

    A round that fails names its seed; EVENTS_TEST_SEED=N begins with that one.
    """
    given = os.environ.get("EVENTS_TEST_SEED")
    seed = int(given) if given else random.SystemRandom().randrange(1_000_000)
    until, rounds = time.monotonic() + SECONDS, 0
    while rounds == 0 or time.monotonic() < until:
        print(f"round {rounds + 1}, EVENTS_TEST_SEED={seed + rounds}", flush=True)
        try:
            round_of(seed + rounds)
        except AssertionError as error:
            error.add_note(f"found with EVENTS_TEST_SEED={seed + rounds}, in round {rounds + 1}")
            raise
        rounds += 1


def explore_machine(machine: Callable[[], RuleBasedStateMachine], *, examples: int = 20, steps: int = 25) -> None:
    """`explore` by a state machine of Hypothesis: `examples` programs of up to `steps` steps a round."""
    found = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, database=None, verbosity=Verbosity.normal,
        phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck), print_blob=False,
    )  # fmt: skip
    explore(lambda seed: run_state_machine_as_test(seeded(seed)(machine), settings=found))


# pytest-timeout ends a test after two minutes; one that was asked to go on for an hour may.
long_enough = pytest.mark.timeout(int(SECONDS * 1.5) + 300)
