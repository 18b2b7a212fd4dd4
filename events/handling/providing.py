"""`@provides`: how the things are made that handlers ask for by a type of the application's own.

    @provides
    def mailer(settings: ShopSettings, session: Session) -> Mailer:
        return Mailer(settings.smtp, session)

    @provides(once="process")
    async def client() -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient() as client:
            yield client

What can't be right by itself is refused here, and what can't be right together by `needs`, once all is loaded.
"""

import inspect
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, overload

from events.definition import Origin, check_call, here, inner, parameters_of, replaces
from events.errors import DefinitionError
from events.handling.arguments import place_of
from events.handling.kinds import ALIKE, Ask, Wanted, ask_of, is_alike, keys_of
from events.handling.parameters import is_async, wanted_by
from events.handling.sessions import async_session_class, session_class

Once = Literal["delivery", "process"]
Factory = TypeVar("Factory", bound=Callable[..., Any])

_YIELDS = (Iterator, Generator, Iterable, AsyncIterator, AsyncGenerator, AsyncIterable)
_MANAGES = (AbstractContextManager, AbstractAsyncContextManager)


def _nothing() -> Iterator[None]:
    yield


async def _nothing_async() -> AsyncIterator[None]:
    yield


_MANAGED = (contextmanager(_nothing).__code__, asynccontextmanager(_nothing_async).__code__)


@dataclass(frozen=True, eq=False, slots=True)
class Provider:
    """One registered factory.

    Attributes:
        kind: the type by which it is asked for: a class, a form of a generic one, or a NewType.
        make: the factory. A generator's thing is what it yields.
        once: what the thing lives as long as.
        is_async: whether the factory has to be awaited.
        is_generator: whether it yields the thing, and closes it afterwards.
        wants: what of the delivery it asks for, by parameter.
        asks: what others have to provide, by parameter.
        session, async_session: the classes of session that it asks for; None if it asks for none.
    """

    kind: Any
    make: Callable[..., Any]
    name: str
    defined_at: str
    once: Once
    is_async: bool = False
    is_generator: bool = False
    wants: dict[str, Wanted] = field(default_factory=dict)
    asks: dict[str, Ask] = field(default_factory=dict)
    session: Any = None
    async_session: Any = None
    origin: Origin | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"provider {self.name!r} ({self.defined_at})"


_providers: dict[Any, Provider] = {}
_version = 0


def providers() -> dict[Any, Provider]:
    """The providers of this process, by the type that each provides."""
    return _providers


def version() -> int:
    """Another number whenever a provider was added or taken away."""
    return _version


@overload
def provides(factory: Factory, /) -> Factory: ...
@overload
def provides(*, once: Once = "delivery") -> Callable[[Factory], Factory]: ...
def provides(factory: Any = None, /, *, once: Once = "delivery") -> Any:
    """Register a factory of what handlers, and other factories, ask for by its type; returns it unchanged.

    A function provides what its return annotation names, a generator what it yields, a class itself. Its parameters are
    given by type, too: other provided things; and once a delivery Session, Connection, AsyncSession, AsyncConnection
    and Delivery.

    Args:
        once: "delivery": made for each call of a handler, when it begins, and closed when it has returned, before the
            commit. "process": made when it is first asked for, closed when the worker's process ends; what is made
            by async code, or of such things, once an event loop.
    Raises:
        DefinitionError: at import, naming every place involved.
    """
    if once not in ("delivery", "process"):
        raise DefinitionError(f'@provides(once={once!r}): use "delivery" or "process"')

    def register(target: Any) -> Any:
        if not callable(target):
            raise DefinitionError(f"@provides belongs on a function or a class, and {target!r:.100} is none")
        _add(_provider(target, once))
        return target

    return register if factory is None else register(factory)


@contextmanager
def provided_instead(kind: Any, thing: object) -> Iterator[None]:
    """Within the block this very thing is what is asked for by this type. For tests."""
    keys = tuple(keys_of(kind))
    if len(keys) != 1:
        raise DefinitionError(f"{kind!r} is no type that can be provided")
    before = _providers.get(keys[0])
    _put(keys[0], Provider(keys[0], lambda: thing, "instead", "a test", "delivery"))
    try:
        yield
    finally:
        _put(keys[0], before)


def _put(kind: Any, provider: Provider | None) -> None:
    global _version
    _version += 1
    if provider is None:
        _providers.pop(kind, None)
    else:
        _providers[kind] = provider


def _add(provider: Provider) -> None:
    other = _providers.get(provider.kind)
    if other is not None:
        again = other.origin is not None and provider.origin is not None
        if not (again and replaces(provider.origin, other.origin, f"provider {provider.name!r}")):  # type: ignore[arg-type]
            raise DefinitionError(
                f"{shown(provider.kind)} has two providers: {other.name!r} ({other.defined_at}) and {provider.name!r} "
                f'({provider.defined_at}); remove one, or give one a type of its own: NewType("Other", ...)'
            )
    _put(provider.kind, provider)


def _provider(target: Any, once: Once) -> Provider:
    where = place_of(target)
    name = str(getattr(target, "__name__", type(target).__name__))
    what = f"provider {name!r} ({where})"
    function = inspect.unwrap(inner(target))
    yields = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    wants, asks = _parameters(target, once, what)
    return Provider(
        kind=_kind(target, function, yields, what),
        make=function if _is_managed(target) else target,
        name=name,
        defined_at=where,
        once=once,
        is_async=is_async(target) or inspect.isasyncgenfunction(function),
        is_generator=yields,
        wants=wants,
        asks=asks,
        session=session_class(target, what) if Wanted.SESSION in wants.values() else None,
        async_session=async_session_class(target, what),
        origin=here(),
    )


def _is_managed(target: Any) -> bool:
    """Whether it is made by @contextmanager or @asynccontextmanager, which we do ourselves."""
    return getattr(target, "__code__", None) in _MANAGED


def _parameters(target: Any, once: Once, what: str) -> tuple[dict[str, Wanted], dict[str, Ask]]:
    wants: dict[str, Wanted] = {}
    asks: dict[str, Ask] = {}
    for parameter in parameters_of(target, what):
        if parameter.is_various:
            continue
        found = wanted_by(parameter.choices, (), False)
        its = f"{what}: parameter {parameter.name!r} is {shown(parameter.hint)}, "
        if found is Wanted.EVENT:
            raise DefinitionError(its + "which is the handler's own; ask for Delivery, or let the handler hand it on")
        if found is not None and once == "process":
            raise DefinitionError(its + 'which is of one delivery, and it is made once a process; say once="delivery"')
        if found is not None and not parameter.is_positional_only:
            wants[parameter.name] = found
        elif found is None and (ask := ask_of(parameter)) is not None:
            asks[parameter.name] = ask
        elif parameter.is_required:
            if not parameter.choices:
                its = f"{what}: parameter {parameter.name!r} has no annotation, "
            raise DefinitionError(
                its + "so that nothing can be given to it; write a function that makes it, or give it a type of its "
                'own that is provided: NewType("Secret", str)'
            )
    check_call(target, [*wants, *(name for name, ask in asks.items() if ask.is_required)], what)
    return wants, asks


def _kind(target: Any, function: Any, yields: bool, what: str) -> Any:
    """The type that it provides."""
    said: Any = target
    if isinstance(target, type):
        if inspect.isabstract(target) or typing.Protocol in target.__bases__:
            raise DefinitionError(f"{what} is abstract; write a function with -> {target.__name__} that makes one")
        if hasattr(target, "__enter__") or hasattr(target, "__aenter__"):
            raise DefinitionError(
                f"{what} is a context manager, which is to be left again; write a generator: "
                f"with {target.__name__}(...) as it: yield it"
            )
    else:
        said = typing.get_type_hints(inner(function)).get("return")
        if yields:
            origin, arguments = typing.get_origin(said), typing.get_args(said)
            said = arguments[0] if isinstance(origin, type) and issubclass(origin, _YIELDS) and arguments else None
        if said is None:
            example = "-> Iterator[SomeClass], or AsyncIterator" if yields else "-> SomeClass"
            raise DefinitionError(f"{what} doesn't say what it provides; write {example}")
        if issubclass(typing.get_origin(said) or type(None), _MANAGES):
            raise DefinitionError(f"{what} provides a context manager, which nobody enters; write a generator")
    keys = list(keys_of(said))
    if len(keys) != 1 or type(None) in typing.get_args(said):
        why = (
            "which handlers are given anyway"
            if is_alike(said, ALIKE) or wanted_by([said], (), False)
            else ("which says too little to be asked for; use a class of its own, or NewType")
        )
        raise DefinitionError(f"{what} provides {shown(said)}, {why}")
    return keys[0]


def shown(kind: Any) -> str:
    """A type, as people write it."""
    if typing.get_origin(kind) is None and hasattr(kind, "__qualname__"):
        return str(kind.__qualname__)
    return str(kind)
