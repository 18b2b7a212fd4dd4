"""The quickstart: README.md begins with it, examples/quickstart goes on. tests/acceptance/test_wheel.py pastes it."""

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

import events
from events import pipeline
from events.settings.settings import Settings
from events.testing import InlinePipeline
from support.pasting import blocks

ROOT = Path(__file__).parent.parent.parent
README, GUIDE = ROOT / "README.md", ROOT / "examples" / "quickstart" / "README.md"
PROGRAM = ROOT / "examples" / "quickstart" / "handlers.py"
FIRST = blocks(README, "python")[0]


def test_readme_begins_with_the_program_itself() -> None:
    assert PROGRAM.read_text() == FIRST
    assert len(FIRST.splitlines()) <= 40  # a screen
    # And is saved as what a worker looks for
    assert PROGRAM.stem in Settings.model_fields["handlers"].default
    assert f"Save it as `{PROGRAM.name}`" in README.read_text()


def test_it_runs_as_it_stands(events_pipeline: InlinePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(name: str) -> None:
        space: dict[str, Any] = {"__name__": name}
        exec(compile(FIRST, "README.md", "exec"), space)

    # Given the tables that it asks for, when its module is imported
    monkeypatch.setattr(pipeline, "_on_migrate", [])
    run("quickstart")
    events_pipeline.migrate()
    # When it is run as a program, and its delivery too
    run("__main__")
    events_pipeline.run()
    # Then what it published was handled, once
    with events.get_engine().connect() as connection:
        assert connection.execute(text("SELECT library, title FROM feed")).all() == [("Arrakis", "Dune")]
        assert connection.execute(text("SELECT title FROM cards")).all() == [("Dune",)]


def test_both_documents_start_it_by_the_same_commands() -> None:
    install, start = blocks(README, "sh")[0].splitlines()
    made, started, _ = blocks(GUIDE, "sh")
    assert made.splitlines()[-1] == install
    assert started.splitlines() == [start]


@pytest.mark.parametrize("document", [README, GUIDE], ids=["README", "guide"])
def test_what_is_pasted_has_no_comments(document: Path) -> None:
    """To zsh, on a terminal, `#` is one more argument."""
    pasted = blocks(document, "sh") if document == GUIDE else blocks(document, "sh")[:1]
    assert pasted
    assert not re.search(r"(?:^|\s)#", "".join(pasted))


@pytest.mark.parametrize("document", [README, GUIDE], ids=["README", "guide"])
def test_it_warns_of_a_module_of_the_same_name(document: Path) -> None:
    said = " ".join(document.read_text().split())
    assert "**Call no module of your own" in said
    assert "`events.py`" in said.partition("**Call no module of your own")[2][:120]
