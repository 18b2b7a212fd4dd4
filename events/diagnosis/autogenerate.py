"""The application's own Alembic here: whether it knows that our tables aren't its own. env.py is read, never run."""

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
    "in it: from events.alembic import include_object, and include_object=include_object in each context.configure(); "
    "see docs/alembic.md"
)


def alembic(pipeline: Pipeline) -> list[Finding]:
    """Of each environment that the command `alembic` would find from here."""
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
    """Each `script_location`; what Alembic itself could not read is none."""
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
    """Where such a folder or module may be; nothing is imported to find out."""
    return [Path(root, *package.split("."), name) for root in ("", "src")]


def _compares(file: Path) -> bool:
    """Whether it names models: without them there is no autogenerate."""
    named = [node.value for node in ast.walk(_parsed(file)) if isinstance(node, ast.Assign)
             if any(isinstance(one, ast.Name) and one.id == "target_metadata" for one in node.targets)]  # fmt: skip
    return not named or any(not (isinstance(one, ast.Constant) and one.value is None) for one in named)


def _spares_ours(file: Path) -> bool:
    """It, or a module of the application that it imports, imports events.alembic; and it is told to Alembic."""
    trees = [_parsed(file)]
    trees += [_parsed(module) for name in _imported(trees[0]) for module in _modules(name)]
    told = any(_tells(node) for tree in trees for node in ast.walk(tree))
    return told and any("events.alembic" in _imported(tree) for tree in trees)


def _tells(node: ast.AST) -> bool:
    """It is a parameter `include_object=`, or the key of one."""
    if isinstance(node, ast.keyword):
        return node.arg == "include_object"
    return isinstance(node, ast.Constant) and node.value == "include_object"


def _imported(tree: ast.AST) -> set[str]:
    """Modules, and what is taken out of them: that may be modules."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
    return names


def _modules(name: str) -> list[Path]:
    package, _, module = name.rpartition(".")
    places = _in_packages(package, module) if package else [Path(module), Path("src", module)]
    files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    return [file for file in files if file.is_file()]


def _parsed(file: Path) -> ast.AST:
    """Empty, if it is no Python: then it does nothing either."""
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return ast.Module([], [])
