"""Imports the modules that define handlers: EVENTS_HANDLERS names modules, and packages with all their modules.

Every module of a package is imported, except `__main__`, which is a program, and tests: a folder `tests`,
`conftest.py`, and files that are named as tests and hold some. Python takes a folder without `__init__.py` for a
package, too, but people keep other things in such folders (scripts, Alembic's migrations): only those of its modules
are imported whose source mentions events or handlers.
"""

import importlib
import logging
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from events.definition import LIBRARIES
from events.errors import ConfigurationError, EventsError
from events.handling.registry import check_needs

log = logging.getLogger("events.loading")

_OURS = __name__.partition(".")[0]
_DEFAULT = "handlers"  # of EVENTS_HANDLERS
_DEFINES = re.compile(r"\b(?:handles|translates|provides|on_migrate|DomainEvent|IntegrationEvent)\b")
_HANDLES = re.compile(r"@(?:\w+\.)*handles\b")
_TEST_NAME = re.compile(r"(?:test_\w*|\w*_test|tests)")
_TEST = re.compile(r"\bpytest\b|\bunittest\b|^\s*(?:async )?def test_", re.MULTILINE)
_PASSED_OVER = (
    "%s.%s is not imported: it is in no package, or none itself, and says nothing of events or handlers; if there are "
    "any, add an __init__.py to its folder"
)


def load_handlers(modules: Iterable[str]) -> None:
    """Import these modules, and all modules of those that are packages.

    Raises:
        ConfigurationError: a module can't be imported; names it, the setting and the line that failed.
        DefinitionError: a handler or event in it is declared wrongly, or nobody provides what a handler asks for.
    """
    if (here := str(Path.cwd())) not in sys.path:  # as `celery` does for itself, but for as long as the process lives
        sys.path.insert(0, here)
    for name in modules:
        _import_all_of(_imported(name))
    check_needs()


def _import_all_of(package: ModuleType, *, only_defining: bool = False) -> None:
    folders = list(getattr(package, "__path__", ()))
    names = {found.name: found.ispkg for found in pkgutil.iter_modules(folders)}
    for name, is_package in sorted(names.items()):
        if name in ("__main__", "conftest", "setup") and (name != "setup" or only_defining):
            continue
        source = _source(folders, name)
        if (is_package and name == "tests") or _is_test(name, source):
            if _HANDLES.search(source):
                log.warning(
                    "%s.%s has handlers and was taken for a test, by its name and what is in it: they don't run; "
                    "rename it, or name it in EVENTS_HANDLERS",
                    package.__name__,
                    name,
                )
            continue
        if only_defining and not is_package and not _DEFINES.search(source):
            log.info(_PASSED_OVER, package.__name__, name)
        else:
            found = _imported(f"{package.__name__}.{name}")
            if is_package:
                _import_all_of(found)
    for name in sorted(set(_bare_folders(folders)) - set(names)):
        files = [file for folder in folders for file in Path(folder, name).rglob("*.py")] if name != "tests" else []
        if any(_DEFINES.search(file.read_text("utf-8", errors="replace")) for file in files):
            _import_all_of(_imported(f"{package.__name__}.{name}"), only_defining=True)
        elif files:
            log.info(_PASSED_OVER, package.__name__, name)


def _source(folders: Iterable[str], name: str) -> str:
    for folder in folders:
        try:
            return Path(folder, f"{name}.py").read_text("utf-8", errors="replace")
        except OSError:
            continue  # a package, compiled, or in an archive
    return ""


def _is_test(name: str, source: str) -> bool:
    return bool(_TEST_NAME.fullmatch(name) and _TEST.search(source))


def _bare_folders(folders: Iterable[str]) -> Iterator[str]:
    """The names of the folders below that Python can import although they have no `__init__.py`."""
    for folder in map(Path, folders):
        if folder.is_dir():
            yield from (
                one.name
                for one in folder.iterdir()
                if one.name.isidentifier() and one.name != "__pycache__" and one.is_dir()
            )


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except EventsError:
        raise
    except (Exception, SystemExit) as error:
        place = f" ({found})" if (found := _place(error, name)) else ""
        raise ConfigurationError(
            f"EVENTS_HANDLERS: can't import {name!r}: {type(error).__name__}: {error}{place}; {_cure(error, name)}"
        ) from error


def _place(error: BaseException, name: str) -> str:
    """The innermost line of the application in the error's traceback, as file:line; else of a library; "" if none."""
    place = last = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file, package = frame.f_code.co_filename, str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package == _OURS or "importlib" in file:
            continue
        last = f"{file}:{line}"
        if package == name.partition(".")[0] or not file.startswith(LIBRARIES):
            place = last
    return place or last


def other_events() -> str:
    """The file of another module that is named `events`, as this package is, and would be imported in its place by
    what is started here; "" if there is none."""
    ours = Path(__file__).parent.parent.resolve()
    for folder in dict.fromkeys([str(Path.cwd()), *sys.path]):
        found = PathFinder.find_spec("events", [folder or "."])
        if found is not None and found.origin and Path(found.origin).resolve().parent != ours:
            return found.origin
    return ""


def _cure(error: BaseException, name: str) -> str:
    missing = (error.name or "") if isinstance(error, ImportError) else ""
    if missing.partition(".")[0] == "events" and (other := other_events()):
        return f"`events` is this package, and not {other}: rename that"
    if missing == "greenlet" or (isinstance(error.__cause__, ImportError) and error.__cause__.name == "greenlet"):
        return "pip install 'celery-domain-events[asyncio]'"  # what SQLAlchemy 2.1 raises on import
    if type(error).__module__ == "django.core.exceptions":
        return (
            "set DJANGO_SETTINGS_MODULE, and add 'events.django' to INSTALLED_APPS (docs/django.md); or let the first "
            "module of EVENTS_HANDLERS begin with `import django` and `django.setup()`"
        )
    if isinstance(error, RuntimeError) and "INSTALLED_APPS" in str(error):  # Django's, of a model
        return "add its application to INSTALLED_APPS"
    if isinstance(error, ModuleNotFoundError) and missing:
        if missing == name == _DEFAULT and "EVENTS_HANDLERS" not in os.environ:
            return (
                f"EVENTS_HANDLERS is not set, and {_DEFAULT!r} is its default: write {_DEFAULT}.py in {Path.cwd()}, or "
                "set it to the modules that define handlers"
            )
        if missing == name or name.startswith(f"{missing}."):
            return f"name importable modules, separated by commas, seen from {Path.cwd()}"
        if parent := missing.rpartition(".")[0]:  # which is there: Python imports it first
            return f"there is no {missing!r} in {parent!r}: mend that import"
        return f"install what {missing.partition('.')[0]!r} is of where this runs, or mend that import"
    return "mend it there"
