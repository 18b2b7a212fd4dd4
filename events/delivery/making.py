"""Makes one thing by its provider, and closes it; says which provider it was if either fails."""

import inspect
import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any

from events.errors import HandlerError
from events.handling import Provider
from events.ledger import described
from events.text import brief

log = logging.getLogger("events.delivery")


class Made:
    """A thing, and how it is closed. `thing`: set once it is open."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.thing: Any = None
        self._manager: AbstractContextManager[Any] | AbstractAsyncContextManager[Any] | None = None

    async def open(self, arguments: Mapping[str, Any]) -> Any:
        """Make it. Awaits nothing unless its factory is async. Raises the factory's errors, with a note."""
        provider = self.provider
        try:
            if not provider.is_generator:
                thing = provider.make(**arguments)
                self.thing = await thing if provider.is_async else thing
                if not provider.is_async and inspect.isawaitable(thing):
                    _drop(thing)
                    raise HandlerError(f"{provider} returned a coroutine; make it `async def`")
            elif provider.is_async:
                manager = self._manager = asynccontextmanager(provider.make)(**arguments)
                self.thing = await manager.__aenter__()
            else:
                plain = self._manager = contextmanager(provider.make)(**arguments)
                self.thing = plain.__enter__()
        except BaseException as error:
            self._manager = None
            error.add_note(f"(raised while {provider} made what the handler asks for)")
            raise
        return self.thing

    async def close(self, raised: BaseException | None) -> None:
        """Close it. What a generator makes of `raised`, the error of the handler, changes nothing.

        Raises:
            BaseException: what closing it raised, if nothing was raised before; else that is logged.
        """
        manager, self._manager = self._manager, None
        if manager is None:
            return
        kind, trace = (type(raised), raised.__traceback__) if raised is not None else (None, None)
        try:
            if isinstance(manager, AbstractAsyncContextManager):
                await manager.__aexit__(kind, raised, trace)
            else:
                manager.__exit__(kind, raised, trace)
        except BaseException as error:
            if error is raised:
                return
            if raised is None:
                error.add_note(f"(raised while {self.provider} closed what it had made)")
                raise
            if not isinstance(error, Exception):
                raise
            tell_unclosed(self.provider, error)


class Opened:
    """The things of one call of a handler, in the order in which they were made."""

    def __init__(self) -> None:
        self._all: list[Made] = []

    async def open(self, provider: Provider, arguments: Mapping[str, Any]) -> Any:
        made = Made(provider)
        thing = await made.open(arguments)
        self._all.append(made)
        return thing

    async def close(self, raised: BaseException | None) -> None:
        """Close all, last made first. Raises the first error of that, if the handler itself raised none."""
        failed: BaseException | None = None
        while self._all:
            try:
                await self._all.pop().close(raised or failed)
            except BaseException as error:
                failed = error
        if failed is not None:
            raise failed


def tell_unclosed(provider: Provider, error: BaseException) -> None:
    """Log that a thing could not be closed, where that fails nothing else."""
    log.warning("%s failed to close what it had made: %s", provider, brief(described(error)))


def at_once(coroutine: Any) -> Any:
    """The value of a coroutine that awaits nothing that has to wait. Raises its error."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    coroutine.close()
    raise RuntimeError("it waits for an event loop")


def _drop(coroutine: Any) -> None:
    close = getattr(coroutine, "close", None)
    if callable(close):
        close()
