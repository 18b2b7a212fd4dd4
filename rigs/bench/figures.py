"""What is measured, and what becomes of it: a measurement has sides that take turns, and goals to judge them by."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

Side = Callable[[], float | Mapping[str, float]]  # measures once; several figures have names


class NotMeasured(Exception):
    """It can't be measured on this machine; says why. No verdict on the target."""


class Failed(Exception):
    """A measurement that went wrong; says why. As good as missing the target."""


class Compare(StrEnum):
    """What of ours is judged."""

    RATIO = "ratio"  # ours by the baseline
    DIFFERENCE = "difference"  # ours above the baseline
    VALUE = "value"  # ours alone


@dataclass(frozen=True)
class Goal:
    """One line of the table.

    Args:
        ours, baseline: names of samples: the side's, and a figure's after a space if the side has several.
        at_least, at_most: what the target says; neither makes it a figure for information.
        chart: the group of the chart's bars that it belongs to; none if it is no bar.
        against: what the baseline is, in words.
        settings, guarantee: of what it is compared with, if that is another library.
    """

    what: str
    unit: str
    ours: str = "ours"
    baseline: str = ""
    compare: Compare = Compare.RATIO
    at_least: float | None = None
    at_most: float | None = None
    chart: str = ""
    against: str = ""
    settings: str = ""
    guarantee: str = ""

    @property
    def wanted(self) -> str:
        suffix = "x" if self.compare is Compare.RATIO else f" {self.unit}"
        if self.at_least is not None:
            return f">= {self.at_least:,g}{suffix}"
        return f"<= {self.at_most:,g}{suffix}" if self.at_most is not None else ""


@dataclass(frozen=True)
class Measurement:
    """Sides that are measured in turn, A B A B, and what is asked of them.

    Args:
        target: None makes it one for information.
        once: it takes so long that one run is all it gets, whatever --runs says.
    """

    target: int | None
    name: str
    sides: Mapping[str, Side]
    goals: Sequence[Goal]
    once: bool = False


@dataclass
class Result:
    """A goal, judged."""

    target: int | None
    what: str
    unit: str
    wanted: str
    compare: str
    chart: str = ""
    against: str = ""
    settings: str = ""
    guarantee: str = ""
    ours: float | None = None
    baseline: float | None = None
    judged: float | None = None  # the ratio, the difference or ours itself
    ok: bool | None = None  # None: nothing is asked, or it was not measured
    failed: bool = False
    reason: str = ""
    samples: dict[str, list[float]] = field(default_factory=dict)

    @property
    def place(self) -> tuple[bool, int]:
        """To sort by: what has no target comes last."""
        return self.target is None, self.target or 0

    @property
    def label(self) -> str:
        return f"target {self.target}" if self.target else self.against

    @property
    def is_bad(self) -> bool:
        return self.failed or self.ok is False

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(measurement: Measurement, samples: Mapping[str, list[float]], reason: str, *, failed: bool) -> list[Result]:
    """The results of a measurement; with a reason it has none, and that is why."""
    results = []
    for goal in measurement.goals:
        result = Result(
            measurement.target, goal.what, goal.unit, goal.wanted, goal.compare.value, goal.chart, goal.against,
            goal.settings, goal.guarantee, failed=failed, reason=reason,
            samples={name: list(samples.get(name, ())) for name in (goal.ours, goal.baseline) if name},
        )  # fmt: skip
        results.append(result)
        for name in ("ours", "baseline"):
            if values := samples.get(getattr(goal, name)):
                setattr(result, name, statistics.median(values))
        if reason or result.ours is None:
            continue
        result.judged = _judged(goal, result.ours, result.baseline)
        if goal.at_least is not None:
            result.ok = result.judged >= goal.at_least
        elif goal.at_most is not None:
            result.ok = result.judged <= goal.at_most
    return results


def _judged(goal: Goal, ours: float, baseline: float | None) -> float:
    if goal.compare is Compare.VALUE or baseline is None:
        return ours
    if goal.compare is Compare.DIFFERENCE:
        return ours - baseline
    return ours / baseline if baseline else float("inf")
