"""Runs a handler to its end: plain functions, `async def`, and those that forgot to await."""

import inspect
import warnings
from asyncio import Future
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from events.delivery.event_loop import run
from events.errors import UnawaitedCoroutine

_forgotten: ContextVar[list[str] | None] = ContextVar("events_forgotten_coroutines", default=None)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@asynccontextmanager
async def _nothing_async() -> AsyncIterator[None]:
    yield


_BY_GENERATOR = (type(_nothing()), type(_nothing_async()))  # what a call of functions so marked returns


def call(function: Callable[..., Any], arguments: dict[str, Any], name: str) -> None:
    """Call a handler; return when it is done, raise what it raised.

    Raises:
        UnawaitedCoroutine: it called an async function and dropped the coroutine, or returned a generator or the like,
            so that work was never done.
    """
    _watch_coroutines()
    forgotten: list[str] = []
    token = _forgotten.set(forgotten)
    try:
        result = function(**arguments)
        if inspect.isawaitable(result):
            result = run(result)
        if _has_not_run(result):
            raise UnawaitedCoroutine(
                f"handler {name!r} returned a {type(result).__name__}, which nobody runs or awaits; do so in it"
            )
        del result
    finally:
        _forgotten.reset(token)
    if forgotten:
        raise UnawaitedCoroutine(
            f"handler {name!r} called {', '.join(forgotten)} without `await`, so it never ran; "
            f"make the handler `async def` and await it"
        )


def _has_not_run(result: object) -> bool:
    """Whether it does its work when somebody awaits it or asks for its values, which nobody does, and nobody has."""
    if isinstance(result, Future):
        return not result.done()
    begun_by = getattr(result, "gen", None) if isinstance(result, _BY_GENERATOR) else result
    if isinstance(begun_by, GeneratorType):
        return inspect.getgeneratorstate(begun_by) == inspect.GEN_CREATED
    return isinstance(begun_by, AsyncGeneratorType | map | filter)


def _watch_coroutines() -> None:
    """Python reports a dropped coroutine by `warnings._warn_unawaited_coroutine`, and nothing else: listen there."""
    original = getattr(warnings, "_warn_unawaited_coroutine", None)
    if original is None or getattr(original, "is_ours", False):
        return

    def report(coroutine: Any) -> None:
        seen = _forgotten.get()
        if seen is None:
            original(coroutine)
        else:
            seen.append(f"{getattr(coroutine, '__qualname__', coroutine)}()")

    report.is_ours = True  # type: ignore[attr-defined]
    warnings._warn_unawaited_coroutine = report  # type: ignore[attr-defined]
