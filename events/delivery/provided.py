"""Gives a handler what others provide: made when its call begins, and closed when it has returned, before the commit.

So what a factory writes in the delivery's transaction, when it closes, too, is committed with the handler's effects;
and what fails there is a failure of the handler.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from events.delivery.kept import Kept
from events.delivery.making import Opened, at_once
from events.handling import Handler, Provider, Wanted

Given = Callable[[Wanted], Any]  # what the delivery itself gives


class Provided:
    """Makes what handlers of one process ask for. Threads may share it."""

    def __init__(self) -> None:
        self._kept = Kept()

    def call_of(self, handler: Handler, given: Given) -> Callable[..., Any]:
        """What to call in place of the handler, with all arguments that aren't provided by others."""
        if not handler.needs.steps:
            return handler.call

        def plain(**arguments: Any) -> Any:
            opened = Opened()
            try:
                result = handler.call(**arguments, **at_once(self._arguments(handler, given, opened)))
            except BaseException as error:
                at_once(opened.close(error))
                raise
            if inspect.isawaitable(result):  # a plain function that returns a coroutine
                return _finished(result, opened)
            at_once(opened.close(None))
            return result

        async def awaited(**arguments: Any) -> Any:
            opened = Opened()
            try:
                result = await handler.call(**arguments, **await self._arguments(handler, given, opened))
            except BaseException as error:
                await opened.close(error)
                raise
            await opened.close(None)
            return result

        return awaited if handler.is_async else plain

    def close(self) -> None:
        """This process ends: close what is made once a process."""
        self._kept.close()

    async def _arguments(self, handler: Handler, given: Given, opened: Opened) -> Mapping[str, Any]:
        """What the handler's parameters get. Awaits nothing, unless a factory is async."""
        things: dict[Provider, Any] = {}
        for step in handler.needs.steps:
            provider = step.provider
            arguments = {name: things[one] for name, one in step.arguments.items()}
            if provider.once == "delivery":
                arguments |= {name: given(wanted) for name, wanted in provider.wants.items()}
                things[provider] = await opened.open(provider, arguments)
            elif step.of_loop:
                things[provider] = await self._kept.of_loop(provider, arguments)
            else:
                things[provider] = self._kept.thing(provider, arguments)
        return {name: things[one] for name, one in handler.needs.arguments.items()}


async def _finished(result: Any, opened: Opened) -> Any:
    try:
        value = await result
    except BaseException as error:
        await opened.close(error)
        raise
    await opened.close(None)
    return value
