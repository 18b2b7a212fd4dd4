"""README.md says what is true: its settings table, its example, its commands."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import typer
from pydantic_core import PydanticUndefined
from sqlalchemy import Column, MetaData, String, Table, select

import events
from events.cli import app
from events.settings import Settings, setting_names
from events.testing import InlinePipeline

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()


def settings_table() -> str:
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for field, variable in setting_names().items():
        info = Settings.model_fields[field]
        assert info.default is not PydanticUndefined
        rows.append(f"| `{variable}` | {_shown(info.default)} | {info.description} |")
    return "\n".join(rows)


def _shown(default: object) -> str:
    if isinstance(default, timedelta):
        return f"{default.total_seconds():g} s"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`" if default else ""
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"`{default}`" if default != "" else ""


def test_the_settings_table_is_that_of_the_code() -> None:
    found = re.search(r"by tests/unit/test_readme.py -->\n(.*?)\n?<!-- end", README, re.DOTALL)
    assert found is not None
    assert found[1].strip() == settings_table()


def test_the_example_runs_as_it_stands(events_pipeline: InlinePipeline) -> None:
    # Given the tables that the example speaks of
    tables = MetaData()
    feed = Table("feed", tables, Column("library", String), Column("title", String))
    cards = Table("cards", tables, Column("title", String))
    tables.create_all(events.get_engine())
    # When it is run, and its delivery too
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert example is not None
    assert len(example[1].splitlines()) <= 20
    exec(compile(example[1], "README.md", "exec"), {"feed": feed, "cards": cards, "__name__": __name__})
    events_pipeline.run()
    # Then the card is in the feed
    with events.get_engine().connect() as connection:
        assert connection.execute(select(feed)).all() == [("Arrakis", "Dune")]


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
    kept = (ROOT / "bench" / "bench.md").read_text().splitlines()
    shown = re.search(r"<!-- bench: .*? -->\n(.*?)<!-- end of bench -->", README, re.DOTALL)
    assert shown is not None
    lines = [line for line in shown[1].splitlines() if line.startswith(("|", "- "))]
    assert len(lines) > 20
    assert [line for line in lines if line not in kept] == []
