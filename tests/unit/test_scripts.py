"""scripts/ holds fronts and nothing else: a front is one word that people type; the program behind it is elsewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "scripts").iterdir())
FRONTS = [path for path in SCRIPTS if path.name != "README.md"]


def rows(readme: str) -> list[str]:
    """The first word of each row of its table."""
    return re.findall(r"^\| `([^` ]+)", (ROOT / readme).read_text(), re.MULTILINE)


@pytest.mark.parametrize("front", FRONTS, ids=lambda path: path.name)
def test_a_script_is_one_word_of_bash(front: Path) -> None:
    assert re.fullmatch(r"[a-z]+", front.name)
    assert front.is_file()
    assert front.stat().st_mode & 0o111
    assert front.read_text().startswith("#!/usr/bin/env bash\n# ")


@pytest.mark.parametrize("front", FRONTS, ids=lambda path: path.name)
def test_the_program_behind_a_script_exists(front: Path) -> None:
    for program in re.findall(r'python"? (?:-P )?"?(?:\$root/)?((?:rigs|tests)/[a-z_./]+)', front.read_text()):
        assert (ROOT / program).exists(), program


def test_the_readme_lists_every_script_and_no_other() -> None:
    assert sorted(rows("scripts/README.md")) == [front.name for front in FRONTS]


def test_every_rig_is_listed_with_a_front_of_its_own() -> None:
    # Given the folders of rigs/
    rigs = sorted(path.name for path in (ROOT / "rigs").iterdir() if (path / "__main__.py").is_file())
    # Then its README lists them, and each is what one of the scripts starts
    assert sorted(word.strip("/") for word in rows("rigs/README.md")) == rigs
    for rig in rigs:
        assert f'"$root/rigs/{rig}"' in (ROOT / "scripts" / rig).read_text()
