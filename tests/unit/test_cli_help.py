"""Every command says what it does, with an example; every one that only reads speaks JSON, too."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
from typer.core import TyperGroup
from typer.main import get_command

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


def test_what_only_reads_speaks_json() -> None:
    speak = {name for name, command in ALL.items() if any("--json" in option.opts for option in command.params)}
    assert speak >= READS
