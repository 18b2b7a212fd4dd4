"""The house: what stands at the root of events/, the doors of its folders, and the layers of its imports."""

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HOUSE = ROOT / "events"
FOLDERS = sorted(folder.name for folder in HOUSE.iterdir() if (folder / "__init__.py").exists())


def test_the_root_holds_what_an_application_meets() -> None:
    modules = [file.stem for file in HOUSE.glob("*.py")]
    assert len(modules) <= 20, modules
    assert {"event", "errors", "pipeline", "testing", "celery"} <= set(modules)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_says_what_it_is_what_it_may_import_and_where_to_begin(folder: str) -> None:
    door = importlib.import_module(f"events.{folder}")
    said = " ".join((door.__doc__ or "").split())
    assert "May import: " in said
    first = said.partition("Open first: `")[2].partition("`")[0]
    assert (HOUSE / folder / f"{first}.py").exists(), f"events/{folder}/__init__.py says to open {first!r} first"


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_door_opens_to_all_that_it_names(folder: str) -> None:
    door = importlib.import_module(f"events.{folder}")
    assert [name for name in door.__all__ if not hasattr(door, name)] == []


WORDS = {"errors", "text", "definition", "throttle", "ration", "watchdog", "release", "lazily", "self_pipe"}
WORDS |= {"event", "integration", "retry", "settings"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_what_it_says_and_nothing_else(folder: str) -> None:
    # Given what a folder says that it may import
    door = importlib.import_module(f"events.{folder}")
    sentence = " ".join((door.__doc__ or "").split()).partition("May import: ")[2].partition(" Open first: ")[0]
    allowed = set(re.findall(r"[a-z_]+", sentence))
    if "words" in allowed:
        allowed |= WORDS
    elif "below" in allowed:
        allowed |= below(folder)
    # When its imports are read
    imported = {
        module.split(".")[1]
        for file, _, module in imports()
        if file.relative_to(ROOT).parts[:2] == ("events", folder) and module.count(".")
    }
    # Then it imports nothing else
    assert imported - allowed - {folder} == set()


def test_others_come_in_by_the_door() -> None:
    # Given every import of the package and of the programs beside it
    passed_by = [
        f"{file.relative_to(ROOT)}:{line}: {module}; import it from events.{module.split('.')[1]}"
        for file, line, module in imports()
        if module.count(".") > 1 and module.split(".")[1] in FOLDERS
        # Then none from outside reaches behind a door
        if file.relative_to(ROOT).parts[:2] != ("events", module.split(".")[1])
    ]
    assert passed_by == []


def test_the_layers_are_few_and_name_everything() -> None:
    layers = layering()
    assert len(layers["layers"]) <= 15
    assert layers["exhaustive"]  # a new folder has to say where it belongs
    assert layers["ignore_imports"] == ["events.monitoring.flower -> events.flower"]  # a public name, and nothing else


def layering() -> dict[str, Any]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts: list[dict[str, Any]] = project["tool"]["importlinter"]["contracts"]
    return next(contract for contract in contracts if contract["type"] == "layers")


def below(folder: str) -> set[str]:
    """All that is in lower layers."""
    layers = [set(re.findall(r"\w+", layer)) for layer in layering()["layers"]]
    (at,) = (number for number, layer in enumerate(layers) if folder in layer)
    return set().union(*layers[at + 1 :])


@cache
def imports() -> list[tuple[Path, int, str]]:
    return list(_imports())


def _imports() -> Iterator[tuple[Path, int, str]]:
    for file in [*HOUSE.rglob("*.py"), *(ROOT / "handlers").rglob("*.py"), *(ROOT / "rigs").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "events":
                module = str(node.module)
                for name in node.names:
                    within = (ROOT / module.replace(".", "/") / name.name).with_suffix(".py")
                    is_module = within.exists() or within.with_suffix("").is_dir()
                    yield file, node.lineno, f"{module}.{name.name}" if is_module else module
            elif isinstance(node, ast.Import):
                yield from ((file, node.lineno, name.name) for name in node.names if name.name.startswith("events."))
