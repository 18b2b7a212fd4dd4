"""Runs a handler to its end, whether it is a plain function or `async def`, and refuses one that forgot to await."""

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
    """Call a handler, and return when it is done.

    Raises:
        UnawaitedCoroutine: the handler called an async function and dropped the coroutine, or returned a generator or
            the like, so that work was never done.
        Exception: every error that the handler raises.
    """
    with _nothing_forgotten(name):
        result = function(**arguments)
        if inspect.isawaitable(result):
            result = run(result)
        _check_has_run(result, name)
        del result


async def call_awaited(function: Callable[..., Any], arguments: dict[str, Any], name: str) -> None:
    """Do the same as `call` on the running event loop."""
    with _nothing_forgotten(name):
        result = function(**arguments)
        if inspect.isawaitable(result):
            result = await result
        _check_has_run(result, name)
        del result


def _check_has_run(result: object, name: str) -> None:
    if _has_not_run(result):
        raise UnawaitedCoroutine(
            f"handler {name!r} returned a {type(result).__name__}, which nobody runs or awaits; "
            f"run or await it in the handler"
        )


@contextmanager
def _nothing_forgotten(name: str) -> Iterator[None]:
    """Raises UnawaitedCoroutine at the end of a block that has made coroutines and dropped them."""
    _watch_coroutines()
    forgotten: list[str] = []
    token = _forgotten.set(forgotten)
    try:
        yield
    finally:
        _forgotten.reset(token)
    if forgotten:
        raise UnawaitedCoroutine(
            f"handler {name!r} called {', '.join(forgotten)} without `await`, so it never ran; "
            f"make the handler `async def` and await it"
        )


def _has_not_run(result: object) -> bool:
    """Whether a handler's result stands for work that only begins when the result is awaited or iterated."""
    if isinstance(result, Future):
        return not result.done()
    begun_by = getattr(result, "gen", None) if isinstance(result, _BY_GENERATOR) else result
    if isinstance(begun_by, GeneratorType):
        return inspect.getgeneratorstate(begun_by) == inspect.GEN_CREATED
    return isinstance(begun_by, AsyncGeneratorType | map | filter)


def _watch_coroutines() -> None:
    """Note dropped coroutines. Python reports them by `warnings._warn_unawaited_coroutine`, and in no other way."""
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
