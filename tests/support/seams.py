"""Finds what of other libraries the package touches that is not theirs to promise, and reads docs/seams.md.

Found by the syntax tree are: names that begin with an underscore, by attribute, import, override or string; attributes
that are set on classes, modules and objects of others; and what is taken from modules that their documentation calls
internal, or that have none. The finder knows no types. So what a file names by itself (`self._pool = ...`) is taken for
its own wherever that file says it; and what is public by its name and yet undocumented is found by a reader alone.
"""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "events"
TABLE = ROOT / "docs" / "seams.md"

# They begin with an underscore, and are documented all the same.
DOCUMENTED = {
    "_replace", "_fields",  # collections.namedtuple
    "_exit",  # os
    "_getframe", "_current_frames",  # sys
    "_mapping",  # sqlalchemy.Row
    "_meta",  # django.db.models.Model
    "_ALL_BROKERS_DOWN", "_AUTHENTICATION", "_MSG_TIMED_OUT", "_PARTITION_EOF", "_RESOLVE", "_STATE",
    "_UNKNOWN_TOPIC",  # confluent_kafka.KafkaError
    "__pydantic_config__", "__pydantic_extra__", "__pydantic_generic_metadata__", "__pydantic_init_subclass__",
    "__pydantic_on_complete__", "__pydantic_private__",  # pydantic
}  # fmt: skip
# Attributes of objects of others that are documented to be set.
SETTABLE = {
    "atexit",  # weakref.finalize
    "daemon",  # threading.Timer
    "__cause__",  # BaseException
    "args", "exc_text", "msg", "stack_info",  # logging.LogRecord
    "autocommit", "isolation_level", "prepare_threshold",  # connections of psycopg and sqlite3
    "is_disconnect",  # sqlalchemy.engine.ExceptionContext
    "schema",  # sqlalchemy.Table
    "output_buffer",  # alembic.config.Config
}  # fmt: skip
OURS = "events_"  # what we hang on objects of others is called so, and clashes with nothing of theirs
# Modules that are in the library's reference of internals, or in none.
INTERNAL = (
    "billiard.common", "billiard.pool", "billiard.process", "billiard.util", "celery.app.trace", "celery.concurrency",
    "celery.platforms", "celery.utils", "celery.worker.control", "celery.worker.loops", "celery.worker.request",
    "celery.worker.state", "celery.worker.strategy", "flower", "kombu.utils",
    "prometheus_client.utils", "prometheus_client.exposition",
)  # fmt: skip
NOT_INTERNAL = {
    "control_command",
    "inspect_command",  # of celery.worker.control: the user guide says how to use it
    "loads",  # of kombu.utils.json
}
_LOOKS = {"getattr", "hasattr", "setattr", "delattr"}
_HANDED_DOWN = ("builtins", "abc", "typing", "typing_extensions", "enum")


@dataclass(frozen=True, order=True)
class Touch:
    """One place. `name`: the last part, such as `_tls` of `celery._state._tls`."""

    file: str
    line: int
    name: str
    how: str

    def __str__(self) -> str:
        return f"events/{self.file}:{self.line}: {self.name} ({self.how})"


@dataclass(frozen=True)
class Row:
    """One row of the table in docs/seams.md."""

    library: str
    names: tuple[str, ...]
    files: tuple[str, ...]
    why: str
    otherwise: str
    guards: tuple[str, ...]

    def covers(self, touch: Touch) -> bool:
        return touch.file in self.files and touch.name in {last(name) for name in self.names}


def rows() -> list[Row]:
    """The table."""
    found = []
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")] if line.startswith("| ") else []
        if len(cells) != 6 or not cells[1].startswith("`"):
            continue
        library, names, files, why, otherwise, guards = cells
        found.append(Row(library, quoted(names), quoted(files), why, otherwise, quoted(guards)))
    return found


def quoted(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`([^`]+)`", text))


def last(name: str) -> str:
    """The last part of a dotted name; a name in quotation marks is a text, and whole."""
    return name.strip('"') if name.startswith('"') else name.rpartition(".")[2]


def is_private(name: str) -> bool:
    if name in DOCUMENTED or not name.startswith("_") or not name.strip("_"):
        return False
    return name.startswith("__pydantic") or not (name.startswith("__") and name.endswith("__"))


def touches(package: Path = PACKAGE) -> list[Touch]:
    """All that are found in this folder's modules, migrations left out."""
    files = {str(path.relative_to(package)): tree(path) for path in sorted(package.rglob("*.py"))}
    files = {name: one for name, one in files.items() if "migrations/versions" not in name}
    ours = set().union(*(_named_here(one) for one in files.values()))
    return sorted({touch for name, one in files.items() for touch in _touches(name, one, ours)})


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@cache
def nodes(of: ast.AST) -> tuple[ast.AST, ...]:
    """The node, and all that are in it."""
    return tuple(ast.walk(of))


@cache
def mentions(path: Path) -> set[str]:
    """All names and texts of a module."""
    found: set[str] = set()
    for node in nodes(tree(path)):
        for attribute in ("attr", "id", "name", "arg", "asname"):
            if isinstance(value := getattr(node, attribute, None), str):
                found |= {value, *value.split(".")}
        if isinstance(node, ast.ImportFrom):
            found |= set((node.module or "").split("."))
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def _touches(file: str, module: ast.Module, ours: set[str]) -> Iterator[Touch]:
    here = _named_here(module)
    imported = dict(_imported(module))
    foreign = {name: target for name, target in imported.items() if not target.startswith("events")}
    for node in nodes(module):
        match node:
            case ast.Attribute(value=of, attr=name) if is_private(name) and not _is_self(of):
                root = _root(of)
                is_module_of_ours = root in imported and root not in foreign
                if not is_module_of_ours and (_is_super(of) or root in foreign or name not in here):
                    yield Touch(file, node.lineno, name, f"attribute: {ast.unparse(node)}")
            case ast.Import(names=names):
                for one in names:
                    yield from _of_import(file, node.lineno, one.name, None)
            case ast.ImportFrom(module=str(target), names=names, level=0) if not target.startswith("events"):
                for one in names:
                    yield from _of_import(file, node.lineno, target, one.name)
            case ast.Call(func=ast.Name(id=look), args=[of, ast.Constant(value=str(name)), *_]) if look in _LOOKS:
                of_internals = isinstance(of, ast.Name) and _is_internal(foreign.get(of.id, ""))
                if of_internals or (is_private(name) and not (_is_self(of) and name in here)):
                    yield Touch(file, node.lineno, name, f"{look} by a text")
            case ast.Call(func=ast.Attribute(attr="startswith"), args=[what]):
                for part in ast.walk(what):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str) and is_private(part.value):
                        yield Touch(file, node.lineno, part.value, "names that begin so")
        match node:
            case ast.Attribute(value=of, attr=name, ctx=ast.Store() | ast.Del()) if not _is_self(of):
                is_theirs = isinstance(of, ast.Name) and of.id in foreign
                if is_theirs or not (name in ours or name in SETTABLE or name.startswith(OURS) or _is_def(of, module)):
                    yield Touch(file, node.lineno, name, f"set: {ast.unparse(node)}")
            case ast.Attribute(value=ast.Name(id=alias), attr=name) if _is_internal(foreign.get(alias, "")):
                yield Touch(file, node.lineno, name, f"of an internal module: {foreign[alias]}")
    yield from _inherited(file, module)


def _of_import(file: str, line: int, module: str, name: str | None) -> Iterator[Touch]:
    parts = [part for part in (*module.split("."), name or "") if is_private(part)]
    if parts:
        yield Touch(file, line, parts[-1], f"import of {module}")
    elif name is not None and _is_internal(module) and name not in NOT_INTERNAL:
        yield Touch(file, line, name, f"of an internal module: {module}")


def _inherited(file: str, module: ast.Module) -> Iterator[Touch]:
    """Private names of others' classes that ours override or use, being made of those."""
    for kind in (node for node in nodes(module) if isinstance(node, ast.ClassDef) and node.bases):
        theirs = {name for base in _bases(file, kind) for name in _private_names(base)}
        for node in nodes(kind):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name in theirs:
                    yield Touch(file, node.lineno, name, f"overridden in {kind.name}")
                case ast.Attribute(value=of, attr=name) if _is_self(of) and name in theirs:
                    yield Touch(file, node.lineno, name, f"inherited by {kind.name}")
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)) if (
                    name in theirs
                ):
                    yield Touch(file, node.lineno, name, f"overridden in {kind.name}")


def _bases(file: str, kind: ast.ClassDef) -> Iterator[type]:
    """The classes of others that it is made of."""
    name = ".".join(("events", *Path(file).with_suffix("").parts)).removesuffix(".__init__")
    try:
        space = vars(importlib.import_module(name))
    except ImproperlyConfigured:  # models and the admin need Django's settings
        return
    for base in kind.bases:
        try:
            found = eval(ast.unparse(base), dict(space))
        except NameError:  # a class of the function around it
            continue
        found = getattr(found, "__origin__", found)  # of Cursor[Any]
        for one in inspect.getmro(found) if isinstance(found, type) else ():
            if not one.__module__.startswith("events") and one.__module__ not in _HANDED_DOWN:
                yield one


@cache
def _private_names(kind: type[Any]) -> frozenset[str]:
    """Of a class itself, and of what its methods set on `self`."""
    names = set(vars(kind))
    try:
        source = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):  # written in C
        return frozenset(filter(is_private, names))
    return frozenset(filter(is_private, names | _set_on_self(source)))


@cache
def _named_here(module: ast.Module) -> set[str]:
    """What the classes of a module define: methods and attributes."""
    found = _set_on_self(module)
    for kind in (node for node in nodes(module) if isinstance(node, ast.ClassDef)):
        for node in kind.body:
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    found.add(name)
                case ast.AnnAssign(target=ast.Name(id=name)):
                    found.add(name)
                case ast.Assign(targets=targets):
                    found |= {part.id for one in targets for part in ast.walk(one) if isinstance(part, ast.Name)}
    return found


def _set_on_self(source: ast.AST) -> set[str]:
    return {
        node.attr for node in nodes(source)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value)
    }  # fmt: skip


def _imported(module: ast.Module) -> Iterator[tuple[str, str]]:
    """By the name that a module gives it: what it imports, in full."""
    for node in nodes(module):
        if isinstance(node, ast.Import):
            yield from ((one.asname or one.name.partition(".")[0], one.name) for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((one.asname or one.name, f"{node.module}.{one.name}") for one in node.names)


def _is_internal(module: str) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in INTERNAL)


def _is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _is_super(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


def _is_def(node: ast.AST, module: ast.Module) -> bool:
    """It is a function of this module, whose attributes are ours."""
    return isinstance(node, ast.Name) and any(
        isinstance(one, ast.FunctionDef) and one.name == node.id for one in nodes(module)
    )


def _root(node: ast.AST) -> str:
    """The name that a chain of attributes begins with."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
