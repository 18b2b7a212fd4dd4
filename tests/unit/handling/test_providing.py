"""What may be provided, and what is refused: each by one line that names who is to blame and the cure."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Generic, NewType, Protocol, TypeVar

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from events import DefinitionError, Delivery, DomainEvent, handles, provides
from events.handling import Handler, Wanted, check_needs, handler_named, providing, registry

Some = TypeVar("Some")
Secret = NewType("Secret", str)


class Asking(DomainEvent): ...


class Mailer: ...


class QuickMailer(Mailer): ...


class Client: ...


class Box(Generic[Some]): ...


class Speaks(Protocol):
    def speak(self) -> str: ...


class Abstract(ABC):
    @abstractmethod
    def speak(self) -> str: ...


class Managed:
    def __enter__(self) -> "Managed":
        return self

    def __exit__(self, *_: object) -> None: ...


class AppSession(Session): ...


class OtherSession(Session): ...


@pytest.fixture(autouse=True)
def nobody_provides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has its own providers and handlers."""
    monkeypatch.setattr(providing, "_providers", {})
    monkeypatch.setattr(registry, "_handlers", {})


def makes_mailer() -> Mailer:
    return Mailer()


def asks(annotation: object, *given: Any) -> Callable[..., Any]:
    """A handler that asks for this."""

    def handler(event: Asking, thing: Any = given[0] if given else None) -> None: ...

    handler.__annotations__["thing"] = annotation
    if not given:
        handler.__defaults__ = None
    return handler


def registered(function: Callable[..., Any], **options: Any) -> Handler:
    handles(Asking, name="asker", **options)(function)
    return handler_named("asker")


# What may be provided, and asked for.


@pytest.mark.parametrize(
    "annotation", [Mailer, Mailer | None, Annotated[Mailer, "any"], Client | Mailer, "Mailer", "Mailer | None"]
)
@pytest.mark.parametrize("given", [(), (None,)])
def test_a_type_is_asked_for_in_many_ways(annotation: object, given: tuple[Any, ...]) -> None:
    provides(makes_mailer)
    needs = registered(asks(annotation, *given)).needs
    assert [str(one) for one in needs.arguments.values()] == [str(providing.providers()[Mailer])]


@pytest.mark.parametrize("kind", [Secret, Box[int], Speaks, Abstract, Mailer])
def test_many_kinds_of_types_can_be_provided(kind: Any) -> None:
    def factory() -> Any: ...

    factory.__annotations__["return"] = kind
    provides(factory)
    assert registered(asks(kind)).needs.arguments["thing"].kind == kind


def yields() -> Iterator[Mailer]:
    yield Mailer()


async def awaits() -> Mailer:
    return Mailer()


async def yields_async() -> AsyncIterator[Mailer]:
    yield Mailer()


@contextmanager
def manages() -> Iterator[Mailer]:
    yield Mailer()


@asynccontextmanager
async def manages_async() -> AsyncIterator[Mailer]:
    yield Mailer()


@pytest.mark.parametrize("factory", [makes_mailer, yields, awaits, yields_async, manages, manages_async, Mailer])
def test_functions_generators_and_classes_provide(factory: Callable[..., Any]) -> None:
    assert provides(factory) is factory
    assert provides(once="process")
    assert list(providing.providers()) == [Mailer]


def test_a_class_is_made_of_what_its_constructor_asks_for() -> None:
    @provides
    @dataclass
    class Shop:
        mailer: Mailer
        session: AppSession
        limit: int = 3

    provides(makes_mailer)
    needs = registered(asks(Shop)).needs
    # Then what it is made of is made before it
    assert [step.provider.kind for step in needs.steps] == [Mailer, Shop]
    # And the handler has a session of the class that it asks for
    assert needs.wanted == {Wanted.EVENT, Wanted.SESSION}
    assert needs.session is AppSession


def test_a_default_stays_where_nobody_provides() -> None:
    assert registered(asks(Mailer, None)).needs.steps == ()
    check_needs()


def test_who_asks_for_async_sql_by_a_provider_runs_side_by_side_and_by_blocking_sql_does_not() -> None:
    @provides
    def with_session(session: AsyncSession) -> Mailer: ...  # type: ignore[empty-body]

    @provides
    def with_blocking(session: Session) -> Client: ...  # type: ignore[empty-body]

    async def awaiting(event: Asking, mailer: Mailer) -> None: ...
    async def blocking(event: Asking, client: Client) -> None: ...

    assert registered(awaiting).is_awaited
    handles(Asking)(blocking)
    assert not handler_named("blocking").is_awaited


# What is refused where it is written.


def says_nothing():  # type: ignore[no-untyped-def] # noqa: ANN201
    return Mailer()


def bare_generator() -> Any:
    yield Mailer()


def maybe() -> Mailer | None: ...
def number() -> int: ...  # type: ignore[empty-body]
def several() -> list[Mailer]: ...  # type: ignore[empty-body]
def session() -> AppSession: ...  # type: ignore[empty-body]
def engine() -> Engine: ...  # type: ignore[empty-body]
def event() -> Asking: ...  # type: ignore[empty-body]
def managed() -> AbstractContextManager[Mailer]: ...  # type: ignore[empty-body]
def wants_event(event: Asking) -> Mailer: ...  # type: ignore[empty-body]
def wants_number(number: int) -> Mailer: ...  # type: ignore[empty-body]
def wants_unsaid(number) -> Mailer: ...  # type: ignore[no-untyped-def,empty-body] # noqa: ANN001
def positional(mailer: Client, /) -> Mailer: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("factory", "why"),
    [
        (says_nothing, "doesn't say what it provides; write -> SomeClass"),
        (bare_generator, r"doesn't say what it provides; write -> Iterator\[SomeClass\]"),
        (maybe, "provides .*None.*says too little"), (number, "provides int, which says too little"),
        (several, r"provides list.*says too little"), (session, "provides AppSession, which handlers are given anyway"),
        (engine, "provides Engine, which handlers are given anyway"),
        (event, "provides Asking, which handlers are given anyway"),
        (managed, "provides a context manager, which nobody enters; write a generator"),
        (Managed, "is a context manager.*write a generator"), (Abstract, "is abstract"), (Speaks, "is abstract"),
        (wants_event, "'event' is Asking, which is the handler's own; ask for Delivery"),
        (wants_number, "'number' is int, so that nothing can be given to it"),
        (wants_unsaid, "'number' has no annotation"), (positional, "nothing can be given to it"),
        (7, "belongs on a function or a class"),
    ],
)  # fmt: skip
def test_what_can_not_provide_is_refused_where_it_is_written(factory: Any, why: str) -> None:
    with pytest.raises(DefinitionError, match=why):
        provides(factory)
    assert providing.providers() == {}


def test_how_long_a_thing_lives_is_one_of_two() -> None:
    with pytest.raises(DefinitionError, match=r"once='request'\): use \"delivery\" or \"process\""):
        provides(once="request")  # type: ignore[call-overload]


@pytest.mark.parametrize("of_delivery", [Session, AppSession, Connection, AsyncSession, Delivery])
def test_what_lives_as_long_as_the_process_has_nothing_of_a_delivery(of_delivery: type) -> None:
    def factory(thing: Any) -> Mailer: ...  # type: ignore[empty-body]

    factory.__annotations__["thing"] = of_delivery
    with pytest.raises(DefinitionError, match=r"'thing' is \w+, which is of one delivery, and it is made once a proc"):
        provides(once="process")(factory)


def test_two_providers_of_one_type_are_named_both() -> None:
    provides(makes_mailer)
    with pytest.raises(DefinitionError, match=r"Mailer has two providers: 'makes_mailer' \(.*\) and 'yields' \(.*py:"):
        provides(yields)


# What is refused once all is loaded.


def test_nobody_provides() -> None:
    registered(asks(Mailer))
    with pytest.raises(DefinitionError, match=r"handler 'asker' .*'thing' is Mailer, .*nobody provides it; write"):
        check_needs()


def test_somebody_provides_a_subclass() -> None:
    provides(QuickMailer)
    registered(asks(Mailer))
    with pytest.raises(DefinitionError, match=r"'QuickMailer' .* makes its subclass QuickMailer: let it say -> Mailer"):
        check_needs()


def test_a_provider_lacks_something() -> None:
    @provides
    def mailer(client: Client) -> Mailer: ...  # type: ignore[empty-body]

    with pytest.raises(DefinitionError, match=r"provider 'mailer' .*'client' is Client, .*nobody provides it"):
        check_needs()


def test_a_circle() -> None:
    @provides
    def mailer(client: Client) -> Mailer: ...  # type: ignore[empty-body]

    @provides
    def client(mailer: Mailer) -> Client: ...  # type: ignore[empty-body]

    with pytest.raises(DefinitionError, match=r"in a circle: 'mailer' \(.*\) -> 'client' \(.*\) -> 'mailer' \(.*\)$"):
        check_needs()


def test_what_lives_long_may_not_hold_what_lives_short() -> None:
    provides(makes_mailer)

    @provides(once="process")
    def client(mailer: Mailer) -> Client: ...  # type: ignore[empty-body]

    with pytest.raises(DefinitionError, match=r"'client' .* once a process, and asks for Mailer, which provider 'm"):
        check_needs()


@pytest.mark.parametrize("factory", [awaits, yields_async])
def test_a_plain_handler_can_not_have_what_is_made_by_async_code(factory: Callable[..., Any]) -> None:
    provides(factory)
    registered(asks(Mailer))
    with pytest.raises(DefinitionError, match=r"asks for Mailer, which provider .* makes by async code; make"):
        check_needs()


def test_sql_of_both_kinds() -> None:
    @provides
    def mailer(session: AsyncSession) -> Mailer: ...  # type: ignore[empty-body]

    async def handler(event: Asking, session: Session, mailer: Mailer) -> None: ...

    registered(handler)
    with pytest.raises(DefinitionError, match=r"'mailer' .*ask for SQL of both kinds"):
        check_needs()


def test_two_classes_of_session() -> None:
    @provides
    def mailer(session: AppSession) -> Mailer: ...  # type: ignore[empty-body]

    def handler(event: Asking, session: OtherSession, mailer: Mailer) -> None: ...

    registered(handler)
    with pytest.raises(DefinitionError, match=r"asks for OtherSession, and provider 'mailer' .* for AppSession; a d"):
        check_needs()


def test_a_batch_has_no_single_delivery() -> None:
    @provides
    def mailer(delivery: Delivery) -> Mailer: ...  # type: ignore[empty-body]

    def handler(events: list[Asking], mailer: Mailer) -> None: ...

    registered(handler, batch=10)
    with pytest.raises(DefinitionError, match=r"takes batches, and provider 'mailer' .*asks for one Delivery"):
        check_needs()
