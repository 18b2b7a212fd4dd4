"""README.md says what is true: its tables, its examples, its commands. Its first block: see test_quickstart.py."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic_core import PydanticUndefined

import events
from events import pipeline
from events.cli import app
from events.monitoring.prometheus import METRICS
from events.settings.settings import Settings, setting_names
from events.testing import InlinePipeline
from support.pasting import blocks

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()


def settings_table() -> str:
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for field, variable in setting_names().items():
        info = Settings.model_fields[field]
        assert info.default is not PydanticUndefined
        rows.append(f"| `{variable}` | {_shown(info.default)} | {info.description} |")
    return "\n".join(rows)


def metrics_table() -> str:
    rows = ["| metric | kind | labels | from | meaning |", "|---|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.source} | {metric.help} |")
    return "\n".join(rows)


def between(begin: str, end: str) -> str:
    """What stands between two comments of README.md."""
    marks = rf"<!-- {re.escape(begin)} by tests/unit/test_readme.py -->\n(.*?)<!-- end of {end} -->"
    found = re.search(marks, README, re.DOTALL)
    assert found is not None
    return found[1].strip()


def _shown(default: object) -> str:
    if isinstance(default, timedelta):
        return f"{default.total_seconds():g} s"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`" if default else ""
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"`{default}`" if default != "" else ""


def test_the_settings_table_is_that_of_the_code() -> None:
    assert between("settings: kept equal to events/settings/settings.py", "settings") == settings_table()


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    assert between("metrics: kept equal to events/monitoring/prometheus.py", "metrics") == metrics_table()


def defined() -> dict[str, Any]:
    """The names that the first example defines, when it is imported."""
    names: dict[str, Any] = {"__name__": "quickstart"}
    exec(compile(blocks(ROOT / "README.md", "python")[0], "README.md", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def migrating_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the example adds to `events migrate` is gone when its test ends."""
    monkeypatch.setattr(pipeline, "_on_migrate", [])


def test_the_example_of_a_contract_runs_as_it_stands(events_pipeline: InlinePipeline) -> None:
    # Given what the first example defines
    names = dict(vars(events)) | defined()
    events_pipeline.migrate()
    # When its translator is defined, and a card is added
    (translator,) = (one for one in blocks(ROOT / "README.md", "python") if "@translates" in one)
    exec(compile(translator, "README.md: contract", "exec"), names)
    events.publish(names["CardAdded"](library="Arrakis", title="Dune"))
    events_pipeline.run()
    # Then others can be told
    assert events.metrics()["library.card-added.v1"].count == 1


def test_the_front_door_lists_what_it_exports() -> None:
    assert sorted(events.__all__) == sorted(set(events.__all__))
    assert all(hasattr(events, name) for name in events.__all__)


def test_every_script_that_it_names_exists() -> None:
    for script in re.findall(r"scripts/[a-z_]+(?=[\s`])", README):
        assert (ROOT / script).exists(), script


def test_the_commands_it_shows_exist() -> None:
    shown = re.findall(r"^(events [a-z -]+?)(?: *#| EVENT_ID| --|$)", README, re.MULTILINE)
    assert {"events status", "events dead groups", "events show", "events find"} <= set(shown)
    command = typer.main.get_command(app)
    for line in shown:
        found: Any = command
        for word in line.split()[1:]:
            found = found.commands.get(word)
            assert found is not None, f"README.md shows `{line}`, and there is no such command"


def test_the_figures_are_those_of_the_run_that_is_kept() -> None:
    kept = (ROOT / "docs" / "bench" / "bench.md").read_text().splitlines()
    shown = re.search(r"<!-- bench: .*? -->\n(.*?)<!-- end of bench -->", README, re.DOTALL)
    assert shown is not None
    lines = [line for line in shown[1].splitlines() if line.startswith(("|", "- "))]
    assert len(lines) > 20
    assert [line for line in lines if line not in kept] == []
