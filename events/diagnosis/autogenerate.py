"""The application's own Alembic: whether it leaves our tables alone. The check reads env.py, and never runs it."""

import ast
import os
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from configparser import Error as NoConfiguration
from pathlib import Path

from events.diagnosis.findings import Finding, ok, warning
from events.pipeline import Pipeline

_CURE = (
    "in this file, write `from events.alembic import include_object`, and pass include_object=include_object to each "
    "context.configure(); see docs/alembic.md"
)


def alembic(pipeline: Pipeline) -> list[Finding]:
    """A finding for each environment that the command `alembic` would find from this folder."""
    apart = bool(pipeline.settings.ledger_schema)
    drops = "`alembic revision --autogenerate` proposes to drop the tables of events"
    return [
        ok("alembic", f"{file} leaves the tables of events alone")
        if _spares_ours(file) or (apart and "include_schemas" not in file.read_text("utf-8", errors="replace"))
        else warning("alembic", f"{file}: {drops}", _CURE)
        for file in dict.fromkeys(_environments())
        if _compares(file)
    ]


def _environments() -> Iterator[Path]:
    for location in _locations():
        package, _, folder = location.rpartition(":")
        places = _in_packages(package, folder) if package else [Path(location)]
        yield from (place / "env.py" for place in places if (place / "env.py").is_file())


def _locations() -> Iterator[str]:
    """Each `script_location`; none if Alembic itself could not read its configuration."""
    ini, toml = Path(os.environ.get("ALEMBIC_CONFIG", "alembic.ini")), Path("pyproject.toml")
    try:
        if ini.is_file():
            config = ConfigParser({"here": ini.absolute().parent.as_posix()})
            config.read(ini, encoding="utf-8")
            for section in config.sections():
                if location := config.get(section, "script_location", fallback=""):
                    yield location
        if toml.is_file():
            options = tomllib.loads(toml.read_text("utf-8")).get("tool", {}).get("alembic", {})
            if location := options.get("script_location", ""):
                yield location.replace("%(here)s", toml.absolute().parent.as_posix())
    except (NoConfiguration, ValueError, OSError):
        return


def _in_packages(package: str, name: str) -> list[Path]:
    """Where such a folder or module of a package may be. Imports nothing."""
    return [Path(root, *package.split("."), name) for root in ("", "src")]


def _compares(file: Path) -> bool:
    """Whether env.py names models: Alembic can't compare without models."""
    assignments = [node for node in ast.walk(_parsed(file)) if isinstance(node, ast.Assign)]
    values = [node.value for node in assignments if any(map(_is_target_metadata, node.targets))]
    return not values or any(not (isinstance(value, ast.Constant) and value.value is None) for value in values)


def _is_target_metadata(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) and target.id == "target_metadata"


def _spares_ours(file: Path) -> bool:
    """Whether env.py, or a module that env.py imports, imports events.alembic and passes `include_object=`."""
    trees = [_parsed(file)]
    trees += [_parsed(module) for name in _imported(trees[0]) for module in _modules(name)]
    passed = any(_is_include_object(node) for tree in trees for node in ast.walk(tree))
    return passed and any("events.alembic" in _imported(tree) for tree in trees)


def _is_include_object(node: ast.AST) -> bool:
    """Whether the node is an argument `include_object=`, or the key of such an argument in a dictionary."""
    if isinstance(node, ast.keyword):
        return node.arg == "include_object"
    return isinstance(node, ast.Constant) and node.value == "include_object"


def _imported(tree: ast.AST) -> set[str]:
    """Names of imported modules, and of objects that are imported from modules: those may be modules, too."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _modules(name: str) -> list[Path]:
    package, _, module = name.rpartition(".")
    places = _in_packages(package, module) if package else [Path(module), Path("src", module)]
    files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    return [file for file in files if file.is_file()]


def _parsed(file: Path) -> ast.AST:
    """The syntax tree of a file; an empty tree if the file can't be read as Python."""
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return ast.Module([], [])
