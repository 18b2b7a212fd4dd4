"""What a handler does, by name: a case registers a function, and publishes BookPlanned with its name."""

from collections.abc import Callable
from typing import Any

plans: dict[str, Callable[[Any], Any]] = {}
log: list[str] = []  # what handlers and hooks note


def planned(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    plans[function.__name__] = function
    return function
