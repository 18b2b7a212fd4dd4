"""What the benchmark is asked to do."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

TARGETS = tuple(range(1, 11))


@dataclass(frozen=True)
class Options:
    """One call of scripts/bench."""

    targets: tuple[int, ...]
    runs: int
    scale: float
    json: bool
    keep: bool

    def sized(self, full: int, least: int = 1) -> int:
        """`full`, shrunk by --scale, but not below `least`."""
        return max(min(least, full), round(full * self.scale))


def parse(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures ours and plain Celery (or whatever a target compares with) in turn, on private servers, "
        "and shows the medians and their ratio. Exit code 0 if every target that was measured is met; 1 if one is "
        "below, or a measurement failed. The ratios mean something on any machine that is otherwise idle; the rates "
        "are this machine's own.",
        epilog="Example: scripts/bench --target 2 4 --runs 3. A trial of everything, whose figures mean little: "
        "scripts/bench --runs 1 --scale 0.05",
    )
    parser.add_argument(
        "--target", nargs="+", type=int, choices=TARGETS, default=TARGETS, metavar="N", help="1 to 10; default: all"
    )
    parser.add_argument("--runs", type=_positive_int, default=5, metavar="N", help="of each side; default: 5")
    parser.add_argument("--scale", type=_share, default=1.0, metavar="X", help="of the sizes, for a trial; default: 1")
    parser.add_argument("--json", action="store_true", help="the figures as JSON on stdout, all else on stderr")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs; a failure always does")
    given = parser.parse_args(arguments)
    return Options(tuple(sorted(set(given.target))), given.runs, given.scale, given.json, given.keep)


def _positive_int(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs; use 1 to 999")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0.001 <= value <= 10:
        raise argparse.ArgumentTypeError(f"{text!r} is no factor; use 0.001 to 10, such as 0.1")
    return value
