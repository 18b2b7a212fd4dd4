"""What the benchmark is asked to do."""

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TARGETS = tuple(range(1, 18))
QUICK_SCALE = 0.15  # of the sizes, unless --scale says otherwise


@dataclass(frozen=True)
class Options:
    """One call of scripts/bench.

    Attributes:
        targets: the numbers of those that are measured.
        rivals: whether other libraries are measured that no target speaks of.
        write: the folder for the table and the chart, if they are wanted.
        command: how it was called.
    """

    targets: tuple[int, ...]
    runs: int
    scale: float
    json: bool
    keep: bool
    quick: bool = False
    rivals: bool = False
    write: Path | None = None
    command: str = "scripts/bench"

    def sized(self, full: int, least: int = 1) -> int:
        """`full`, shrunk by --scale, but not below `least`."""
        return max(min(least, full), round(full * self.scale))


def parse(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures ours and plain Celery (or whatever a target compares with) in turn, on private servers, "
        "and shows the medians and their ratio; without --target also other libraries, each installed into an "
        "environment of its own. Exit code 0 if every target that was measured is met; 1 if one is below, or a "
        "measurement failed. The ratios mean something on any machine that is otherwise idle; the rates are this "
        "machine's own.",
        epilog="Example: scripts/bench --target 2 4 --runs 3. All of it, into the files that "
        "docs/performance.md shows: scripts/bench --write docs/bench",
    )
    parser.add_argument("--target", nargs="+", type=int, choices=TARGETS, metavar="N", help="1 to 17; default: all")
    parser.add_argument(
        "--quick", action="store_true",
        help="a trial in less than a minute: one run of small sizes, of what can be had so fast; says what it leaves "
        "out. Figures that small prove nothing, so a target that is not met is no failure: the exit code is 1 only if "
        "a measurement failed",
    )  # fmt: skip
    parser.add_argument(
        "--rivals", action=argparse.BooleanOptionalAction, default=None,
        help="measure dramatiq on RabbitMQ and FastStream, too; default: unless --target is given",
    )  # fmt: skip
    parser.add_argument(
        "--runs",
        type=_positive_int,
        metavar="N",
        help="of each side; default: 5, with --quick 1; 13 and 15 take half an hour each, and get one",
    )
    parser.add_argument(
        "--scale", type=_share, metavar="X", help=f"of the sizes, for a trial; default: 1, with --quick {QUICK_SCALE}"
    )
    parser.add_argument(
        "--write", type=Path, metavar="FOLDER", help="write the table and a chart there: bench.md and bench.svg"
    )
    parser.add_argument("--json", action="store_true", help="the figures as JSON on stdout, all else on stderr")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs; a failure always does")
    given = parser.parse_args(arguments)
    return Options(
        targets=tuple(sorted(set(given.target or TARGETS))),
        runs=given.runs or (1 if given.quick else 5),
        scale=given.scale or (QUICK_SCALE if given.quick else 1.0),
        json=given.json,
        keep=given.keep,
        quick=given.quick,
        rivals=given.target is None if given.rivals is None else given.rivals,
        write=given.write,
        command=shlex.join(["scripts/bench", *arguments]),
    )


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
