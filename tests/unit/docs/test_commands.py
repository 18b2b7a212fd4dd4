"""Every command, option and script that a document names exists."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from events.cli import app
from support.documents import DOCUMENTS, README, ROOT, name_of, quoted, shown_lines

OF_TYPER = {"--help"}  # of every command, without being a parameter of it
COMMANDS = typer.main.get_command(app)


def commands_of(document: Path) -> list[str]:
    """What it shows to be typed, and what it quotes, that begins with the command `events`."""
    return [line for line in shown_lines(document) + quoted(document) if re.match(r"events [a-z-]", line)]


def unknown(line: str) -> list[str]:
    """The subcommands and options of this line that don't exist."""
    wrong: list[str] = []
    command: Any = COMMANDS
    words = shlex.split(re.split(r" [|>&#]+ |  +#| #", line)[0], comments=False)
    for word in words[1:]:
        # `drop|list` and `--all|--group` are two; `--edit=on` has a value; `...` and ID are for anything.
        for one in word.strip("[];,").split("|"):
            name = one.partition("=")[0]
            if name.startswith("--"):
                known = {option for parameter in command.params for option in parameter.opts} | OF_TYPER
                if name not in known:
                    wrong.append(name)
            elif hasattr(command, "commands") and re.fullmatch(r"[a-z-]+", name) and name not in command.commands:
                return [*wrong, name]
        if hasattr(command, "commands") and word in command.commands:
            command = command.commands[word]
    return wrong


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_command_and_option_that_it_names_exists(document: Path) -> None:
    assert {line: wrong for line in commands_of(document) if (wrong := unknown(line))} == {}


def test_a_command_that_does_not_exist_is_found() -> None:
    assert unknown("events statsu") == ["statsu"]
    assert unknown("events dead reply --group 3f0c9a1e") == ["reply"]
    assert unknown("events dead replay --gruop 3f0c9a1e") == ["--gruop"]


def test_the_documents_show_commands_at_all() -> None:
    shown = {command.partition(" --")[0] for document in DOCUMENTS for command in commands_of(document)}
    assert {"events dead replay", "events status", "events dead groups"} <= shown
    assert any(command.startswith("events status") for command in commands_of(README))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_script_that_it_names_exists(document: Path) -> None:
    for script in re.findall(r"(?<![\w/-])scripts/[a-z_.]+(?=[\s`])", document.read_text()):
        assert (ROOT / script).exists(), script
