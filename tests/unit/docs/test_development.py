"""docs/development.md shows the folders and the layers that there are, and docs/glossary.md the words."""

import re
import tomllib

from support.documents import DOCS, ROOT, between

PAGE = DOCS / "development.md"


def test_the_tree_shows_every_folder_and_module() -> None:
    # Given what stands in events/
    there = {path.name + "/" * path.is_dir() for path in (ROOT / "events").iterdir()
             if path.name not in ("__init__.py", "__pycache__", "py.typed")}  # fmt: skip
    # Then each is in the tree, once, and nothing else is
    shown = re.findall(r"^    ([\w.]+/?)  ", between(PAGE, "tree"), re.MULTILINE)
    assert sorted(shown) == sorted(there)


def test_the_layers_are_those_that_are_kept() -> None:
    # Given the contract of import-linter
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    # Then the page shows it, from the top to the bottom, and says how many layers there are
    assert between(PAGE, "layers").splitlines()[1:-1] == layers
    assert len(layers) == 15
    assert "these fifteen layers" in PAGE.read_text()


def test_the_glossary_is_in_alphabetical_order_and_says_where_each_word_lives() -> None:
    # Given its rows
    rows = re.findall(r"^\| (.+?) \| (.+) \| (.+?) \|$", (DOCS / "glossary.md").read_text(), re.MULTILINE)[1:]
    words = [word.lower() for word, _, _ in rows]
    # Then a reader finds a word by its letters (a group among the groups)
    assert [word.partition(",")[0] for word in words] == sorted(word.partition(",")[0] for word in words)
    # And each names a file
    assert [word for word, _, where in rows if not re.search(r"`(?:events|examples)/\S+\.py`", where)] == []
