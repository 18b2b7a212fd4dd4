"""The dashboard and the alert rules speak of metrics and labels that exist."""

import json
import re
from importlib import resources
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from events.cli import app
from events.monitoring.prometheus import METRICS

FILES = resources.files("events.monitoring")
LABELS = {metric.name: set(metric.labels) for metric in METRICS}
for metric in METRICS:
    if metric.kind == "histogram":
        LABELS[f"{metric.name}_bucket"] = {*metric.labels, "le"}
        LABELS |= {f"{metric.name}_{part}": set(metric.labels) for part in ("sum", "count")}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(FILES.joinpath("alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    return json.loads(FILES.joinpath("grafana.json").read_text())


def expressions() -> dict[str, str]:
    """All queries, by where they are."""
    found = {rule["alert"]: rule["expr"] for rule in rules()}
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            found[f"variable {variable['name']}"] = variable["query"]["query"]
    return found


def complaints(expression: str) -> list[str]:
    """What an expression asks for that there isn't: metrics, and labels in {...}, by (...) and label_values(...)."""
    names = set(re.findall(r"\bevents_[a-z_]+\b", expression))
    wrong = [f"no metric {name}" for name in names - LABELS.keys()]
    known = set.intersection(*(LABELS.get(name, set()) for name in names)) if names else set()
    asked = [word for part in re.findall(r"\bby \(([^)]*)\)", expression) for word in part.split(",")]
    asked += re.findall(r"label_values\(\w+, (\w+)\)", expression)
    for name, selector in re.findall(r"\b(events_[a-z_]+)\{([^}]*)\}", expression):
        matched = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        wrong += [f"{name} has no label {label}" for label in matched - LABELS.get(name, set())]
    wrong += [f"{names} have no label {label.strip()}" for label in asked if label.strip() not in known]
    return wrong if names else [*wrong, "no metric at all"]


@pytest.mark.parametrize("where", expressions())
def test_a_query_asks_for_what_there_is(where: str) -> None:
    expression = expressions()[where]
    assert complaints(expression) == []
    assert expression.count("(") == expression.count(")")


@pytest.mark.parametrize(
    "wrong",
    ["events_succeded_total", 'events_backlog{event_type="x"}', "sum by (handler) (events_parked_messages)",
     "label_values(events_backlog, queue)", "up == 0"],
)  # fmt: skip
def test_the_check_finds_what_is_wrong(wrong: str) -> None:
    assert complaints(wrong)


def test_every_metric_is_on_the_dashboard() -> None:
    shown = " ".join(expressions().values())
    assert [m.name for m in METRICS if m.name not in shown] == ["events_fanned_out_total"]  # as many as are sent


def test_alerts_say_what_is_wrong_and_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names) > 5
    for rule in rules():
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"].endswith(".")


def test_panels_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert not cells & taken, panel["title"]
        taken |= cells
    assert max(x for x, _ in taken) == 23


def test_the_commands_print_the_files() -> None:
    for command, file in (("dashboard", "grafana.json"), ("alerts", "alerts.yml")):
        result = CliRunner().invoke(app, ["monitoring", command])
        assert (result.exit_code, result.stdout) == (0, FILES.joinpath(file).read_text())
