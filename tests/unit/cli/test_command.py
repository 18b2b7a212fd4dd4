"""Every command says what it does, with an example; every one that only reads speaks JSON, too."""

import re
from collections.abc import Iterator
from typing import Any, cast

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from events.cli import app

READS = {"status", "show", "find", "tail", "doctor", "dead list", "dead groups", "dead show", "parked list",
         "parked show", "handlers list"}  # fmt: skip


def commands(group: TyperGroup, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{name} ")
        else:
            yield prefix + name, command


ALL = dict(commands(cast(TyperGroup, get_command(app))))


@pytest.mark.parametrize("name", sorted(ALL))
def test_help_has_an_example_of_this_very_command(name: str) -> None:
    said = ALL[name].help or ""
    assert "Example:" in said
    assert f"events {name}" in said.partition("Example:")[2]
    assert all(getattr(option, "help", None) for option in ALL[name].params)


@pytest.mark.parametrize("columns", [80, 120])
def test_no_page_speaks_of_types_of_python(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    groups = {name.rpartition(" ")[0] for name in ALL}
    for name in (*ALL, *groups):
        shown = CliRunner().invoke(app, [*name.split(), "--help"])
        assert shown.exit_code == 0
        assert not re.search(r"<\w+", shown.output), shown.output
        assert max(map(len, shown.output.splitlines())) <= columns


def test_handlers_event_types_and_ids_can_be_completed() -> None:
    named = {"--handler", "--event", "--group"}
    for name, command in ALL.items():
        for param in command.params:
            an_id = param.param_type_name == "argument" and param.metavar in ("EVENT_ID", "ID", "HANDLER", "EVENT")
            if an_id or named & set(param.opts):
                assert param._custom_shell_complete is not None, f"{name} {param.opts}"


def test_what_destroys_can_be_told_not_to_ask() -> None:
    destroy = {"dead discard", "parked discard", "handlers retire", "unhandled drop", "prune", "dead edit"}
    ask = {name for name, command in ALL.items() if any("--yes" in option.opts for option in command.params)}
    assert ask == destroy


def test_what_only_reads_speaks_json() -> None:
    speak = {name for name, command in ALL.items() if any("--json" in option.opts for option in command.params)}
    assert speak >= READS
