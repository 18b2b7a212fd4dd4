"""What the rig is asked to do."""

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass

MODES = ("sqlite", "postgres", "redis", "rabbitmq-quorum", "rabbitmq-classic")


@dataclass(frozen=True)
class Options:
    """One call of scripts/chaos."""

    modes: tuple[str, ...]
    seconds: float
    seed: int
    control: bool
    json: bool
    plan: bool
    settle: float


def parse(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description="Runs producers, relays and workers on private servers, inflicts faults at seeded random times, "
        "and compares what the producers committed with what the handlers did. Exit code 0 if nothing was lost, done "
        "twice, stuck, or done for a transaction that rolled back; 1 if not.",
        epilog="Example: scripts/chaos --mode redis --seconds 60 --seed 7",
    )
    parser.add_argument("--mode", choices=[*MODES, "all"], default="postgres", help="default: %(default)s")
    parser.add_argument("--seconds", type=_positive, default=60.0, metavar="N", help="of faults; default: 60")
    parser.add_argument("--seed", type=int, help="the same seed, the same faults; default: a new one, which is printed")
    parser.add_argument(
        "--settle",
        type=_positive,
        default=60.0,
        metavar="N",
        help="seconds in which nothing is done, after the last fault, until the rest counts as stuck; default: 60",
    )
    parser.add_argument(
        "--control",
        choices=["celery"],
        help="plain Celery instead, sending after the commit: what the same faults do without us",
    )
    parser.add_argument("--plan", action="store_true", help="only print the faults that this seed means")
    parser.add_argument("--json", action="store_true", help="the verdict as JSON on stdout, all else on stderr")
    given = parser.parse_args(arguments)
    modes = MODES if given.mode == "all" else (given.mode,)
    if given.control and any(mode in ("sqlite", "postgres") for mode in modes):
        parser.error("--control celery needs a broker: --mode redis, rabbitmq-quorum or rabbitmq-classic")
    seed = random.SystemRandom().randrange(10_000) if given.seed is None else given.seed
    return Options(modes, given.seconds, seed, bool(given.control), given.json, given.plan, given.settle)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds; use 1 to 86400")
    return value
