"""Doors that open room by room: a folder whose modules are heavy, or do something when they are imported.

A name of such a door is loaded when it is first asked for. So `events doctor` need not load Celery's worker for two
functions of `worker.config`, nor a worker without a port the client of Prometheus.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def rooms(package: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a door.

    Args:
        package: the `__name__` of the door.
        names: module within the package to the names that the door has of it, separated by spaces.
    """
    room_of = {name: room for room, held in names.items() for name in held.split()}

    def found(name: str) -> Any:
        if name not in room_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{room_of[name]}"), name)

    return found
