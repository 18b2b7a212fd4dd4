"""Docstrings, comments and docs name modules, functions and files: each that they name is there."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

ROOT = Path(__file__).parents[2]
CODE = sorted((ROOT / "events").rglob("*.py"))
TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
PAGES = sorted(
    [
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "tests").rglob("*.md"),
        *(ROOT / "rigs").rglob("*.md"),
    ]
)
PACKAGES = sorted((ROOT / "events").rglob("__init__.py"))

NOT_OURS = {  # what looks like the name of a module, and is none
    "events.CardAdded",  # a subject or topic of a bridge
    "events.db",  # the file of a ledger in SQLite
    "events.dead", "events.dlx",  # a queue and an exchange on the broker
    "events.jsonl", "events.md", "events.png", "events.yml",  # files
    "events.loading",  # a logger
    "events.outcome",  # an attribute of spans
    "events.attempt", "events.correlation_id", "events.count", "events.handler", "events.id", "events.type",  # tags
    "events.py",  # a module of the application's
}  # fmt: skip
OF_OTHERS = {  # what looks like a function of ours, and is of a library, a protocol or the application
    "__pydantic_config__", "alias_generator", "apply_async", "cancel_consumer", "default_transaction_read_only",
    "model_construct", "serialize_by_alias", "worker_consumer",
}  # fmt: skip
NOT_ROOMS = {"events", "event_store"}  # the command, and the table of others


@cache
def texts(path: Path) -> tuple[str, ...]:
    """All that is said in a file and is no code: a page, or the docstrings and comments of a module."""
    source = path.read_text("utf-8")
    if path.suffix == ".md":
        return (source,)
    return (*docstrings(source), *re.findall(r"(?<!\S)#+ .*", source))


def docstrings(source: str) -> Iterator[str]:
    """The module's first. Only statements are looked at: that is much quicker."""
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ast.get_docstring(node, clean=False) or ""
        for block in ("body", "orelse", "handlers", "finalbody"):
            waiting += getattr(node, block, [])


def said(pattern: str, paths: Iterable[Path]) -> set[tuple[str, str]]:
    """What the files say that looks so, each with the file that says it."""
    return {
        (found[0], str(path.relative_to(ROOT)))
        for path in paths
        for text in texts(path)
        for found in re.finditer(pattern, text)
    }


def is_there(name: str) -> bool:
    """Whether Python finds it: a module, what a module holds, what a class has."""
    module, *parts = name.split(".")
    found: Any = importlib.import_module(module)
    while parts and (ROOT / module.replace(".", "/")).is_dir() and is_module(f"{module}.{parts[0]}"):
        module = f"{module}.{parts.pop(0)}"
        try:
            found = importlib.import_module(module)
        except ImproperlyConfigured:  # it needs Django's settings, so its source is read
            source = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text()
            return all(re.search(rf"(class|def) {part}\b|^{part}\b", source, re.M) for part in parts)
    while parts and hasattr(found, parts[0]):
        found = getattr(found, parts.pop(0))
    return parts == [] or parts == [part for part in inspect.get_annotations(found) if part == parts[0]]


def is_module(name: str) -> bool:
    place = ROOT / name.replace(".", "/")
    return place.is_dir() or place.with_suffix(".py").exists()


def test_names_of_the_package_are_there() -> None:
    named = said(r"(?<![\w/@:.-])events(?:\.\w+)+", [*CODE, *TESTS, *PAGES])
    wrong = sorted(
        (name, place) for name, place in named if name not in NOT_OURS and not (is_module(name) or is_there(name))
    )
    assert wrong == []


def test_files_of_the_project_are_there() -> None:
    path = r"(?<![\w/.-])(?:events|tests|[dD]ocs|scripts|examples|rigs)/[\w./-]*\w\.\w+"
    named = said(path, [*CODE, *TESTS, *PAGES])
    assert sorted((name, place) for name, place in named if not (ROOT / (name[0].lower() + name[1:])).exists()) == []


def test_tests_that_are_named_without_their_folder_are_there() -> None:
    known = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    named = said(r"(?<![\w/*.-])test_\w+\.py", [*CODE, *TESTS, *PAGES])
    assert sorted((name, place) for name, place in named if name not in known) == []


def test_functions_that_are_named_are_somewhere_in_the_code() -> None:
    written = {word for path in CODE for word in words(path)}
    named = said(r"(?<=`)[a-z_]+_[a-z_]+(?=(?:\(\))?`)", CODE)
    assert sorted((name, place) for name, place in named if name not in written | OF_OTHERS) == []


def words(path: Path) -> Iterator[str]:
    """Names in the code of a file, and what stands in its strings that are no docstrings."""
    source = path.read_text("utf-8")
    told = set(docstrings(source))
    yield path.stem
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in told:
            yield from re.findall(r"\w+", node.value)
        for name in ("id", "attr", "arg", "name", "asname", "module"):
            yield from re.findall(r"\w+", str(getattr(node, name, "")))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_the_door_of_a_package_names_its_rooms(package: Path) -> None:
    # Given the docstring of a package, which says what is where
    text = next(docstrings(package.read_text("utf-8")))
    # Then each that it names is a room of it, or of the house
    named = set(re.findall(r"`([a-z_]+)/?`", text)) - NOT_ROOMS
    rooms = {path.stem for path in package.parent.iterdir()}
    assert sorted(named - rooms - {path.stem for path in (ROOT / "events").iterdir()}) == []
    # And where to begin is one of its own
    first = re.search(r"Open first:\s+`(\w+)`", text)
    assert first is None or first[1] in rooms
