"""Finds the handlers: the module, or package, `handlers` of each application in INSTALLED_APPS."""

import importlib.util
import re
from pathlib import Path

from django.apps import apps
from django.conf import settings

_SPEAKS_OF_US = re.compile(r"\bevents\b")
_TASKS = "events.django.task_backend"
NONE = "events.django.no_handlers"  # which says so when it is imported


def handlers_of_applications() -> tuple[str, ...]:
    """The names of these modules. One that has nothing to do with this package, as Django's own has, is left out."""
    names = [name for config in apps.get_app_configs() if _is_there(name := f"{config.name}.handlers")]
    if any(one.get("BACKEND") == f"{_TASKS}.EventsBackend" for one in getattr(settings, "TASKS", {}).values()):
        names.append(_TASKS)
    return tuple(names) or (NONE,)


def _is_there(name: str) -> bool:
    found = importlib.util.find_spec(name)
    if found is None:
        return False
    if found.submodule_search_locations is not None:
        files = [file for folder in found.submodule_search_locations for file in Path(folder).rglob("*.py")]
    elif found.origin and found.origin.endswith(".py"):
        files = [Path(found.origin)]
    else:
        return True  # compiled
    return any(_SPEAKS_OF_US.search(file.read_text("utf-8", errors="replace")) for file in files)
