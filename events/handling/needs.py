"""What a handler needs besides its event: which things are made for it, of what, and in which order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from events.errors import DefinitionError
from events.handling.kinds import ASYNC_SQL, SQL, Ask, Wanted
from events.handling.providing import Provider, providers, shown
from events.handling.sessions import one_of


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is made. `arguments`: its parameters, and who provides each. `of_loop`: it is made by async code,
    or of such things, so that it belongs to one event loop."""

    provider: Provider
    arguments: Mapping[str, Provider]
    of_loop: bool


@dataclass(frozen=True, slots=True)
class Needs:
    """What one handler needs.

    Attributes:
        wanted: what of the delivery itself it, or what is made for it, asks for.
        steps: what is made for it, in that order.
        arguments: the handler's parameters, and who provides each.
        session, async_session: the classes of its session; None if there is none.
    """

    wanted: frozenset[Wanted]
    steps: tuple[Step, ...]
    arguments: Mapping[str, Provider]
    session: Any
    async_session: Any


def needs_of(
    what: str,
    wants: Iterable[Wanted],
    asks: Mapping[str, Ask],
    *,
    is_async: bool,
    batch: bool,
    session: Any,
    async_session: Any,
) -> Needs:
    """What a handler needs, whose parameters ask for this. `what`: the words that errors begin with.

    Raises:
        DefinitionError: nobody provides it, providers need each other in a circle, or one may not use another.
    """
    steps: dict[Provider, Step] = {}
    arguments = _arguments(what, asks, steps, ())
    wanted = frozenset(wants).union(*(step.provider.wants.values() for step in steps.values()))
    made = [step.provider for step in steps.values()]
    for provider in made:
        if provider.is_async and not is_async:
            raise DefinitionError(
                f"{what} asks for {shown(provider.kind)}, which {provider} makes by async code; make the handler "
                f"`async def`"
            )
        if batch and Wanted.DELIVERY in provider.wants.values():
            raise DefinitionError(f"{what} takes batches, and {provider}, which it needs, asks for one Delivery")
        if not is_async and ASYNC_SQL.intersection(provider.wants.values()):
            raise DefinitionError(
                f"{what} needs {provider}, which asks for SQL of asyncio; make the handler `async def`"
            )
    if wanted & SQL and wanted & ASYNC_SQL:
        raise DefinitionError(
            f"{what} and what it needs ({', '.join(map(str, made))}) ask for SQL of both kinds, and a delivery has one "
            f"transaction; keep to Session and Connection, or to AsyncSession and AsyncConnection"
        )
    sessions = [(what, session), *((str(one), one.session) for one in made)]
    async_sessions = [(what, async_session), *((str(one), one.async_session) for one in made)]
    return Needs(wanted, tuple(steps.values()), arguments, one_of(sessions), one_of(async_sessions))


def check_providers() -> None:
    """Check each provider, whether a handler asks for it or not. Raises DefinitionError."""
    for provider in tuple(providers().values()):
        _visit(provider, {}, ())


def _arguments(
    what: str, asks: Mapping[str, Ask], steps: dict[Provider, Step], path: tuple[Provider, ...]
) -> dict[str, Provider]:
    """Who provides each parameter. Adds to `steps` what has to be made for that."""
    found: dict[str, Provider] = {}
    for parameter, ask in asks.items():
        provider = next((known for key in ask.keys if (known := providers().get(key)) is not None), None)
        if provider is None and ask.is_required:
            raise DefinitionError(_missing(what, parameter, ask))
        if provider is not None:
            found[parameter] = provider
            _visit(provider, steps, path)
    return found


def _visit(provider: Provider, steps: dict[Provider, Step], path: tuple[Provider, ...]) -> None:
    if provider in path:
        circle = " -> ".join(str(one).removeprefix("provider ") for one in (*path[path.index(provider) :], provider))
        raise DefinitionError(f"providers need each other in a circle: {circle}")
    if path and path[-1].once == "process" and provider.once == "delivery":
        raise DefinitionError(
            f"{path[-1]} is made once a process, and asks for {shown(provider.kind)}, which {provider} makes once a "
            f'delivery; say once="delivery" there, or once="process" here'
        )
    if provider in steps:
        return
    arguments = _arguments(str(provider), provider.asks, steps, (*path, provider))
    of_loop = provider.is_async or any(steps[one].of_loop for one in arguments.values())
    steps[provider] = Step(provider, arguments, of_loop)


def _missing(what: str, parameter: str, ask: Ask) -> str:
    kind = ask.keys[0]
    cure = f"write a function with -> {shown(kind)} that makes one, and @provides above it, in a module that is loaded"
    if isinstance(kind, type):
        for key, provider in providers().items():
            if isinstance(key, type) and issubclass(key, kind):
                cure = f"{provider} makes its subclass {shown(key)}: let it say -> {shown(kind)}, or ask for that"
                break
    return f"{what}: parameter {parameter!r} is {shown(kind)}, which can't be injected: nobody provides it; {cure}"
