"""The house: what stands at the root of events/, the doors of its folders, and the layers of its imports."""

import ast
import importlib
import tomllib
from collections.abc import Iterator
from pathlib import Path

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
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["type"] == "layers")
    assert len(layers["layers"]) <= 15
    assert layers["exhaustive"]  # a new folder has to say where it belongs
    assert layers["ignore_imports"] == ["events.monitoring.flower -> events.flower"]  # a public name, and nothing else


def imports() -> Iterator[tuple[Path, int, str]]:
    for file in [*HOUSE.rglob("*.py"), *(ROOT / "handlers").rglob("*.py"), *(ROOT / "rigs").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("events."):
                yield file, node.lineno, str(node.module)
            elif isinstance(node, ast.Import):
                yield from ((file, node.lineno, name.name) for name in node.names if name.name.startswith("events."))
