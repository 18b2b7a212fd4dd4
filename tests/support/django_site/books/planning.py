"""What a handler does, by name: a case registers a function, and publishes BookPlanned with its name."""

from collections.abc import Callable

from books.happenings import BookPlanned

plans: dict[str, Callable[[BookPlanned], object]] = {}
log: list[str] = []  # what handlers and hooks note


def planned(function: Callable[[BookPlanned], object]) -> Callable[[BookPlanned], object]:
    plans[function.__name__] = function
    return function
