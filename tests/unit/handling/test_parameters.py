"""What a handler's parameters can ask for: they get it, or the handler is refused while its module is imported."""

import functools
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NewType, Optional, Protocol, TypeVar

import pytest
from pydantic import BaseModel
from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from typing_extensions import TypeAliasType

from events import DefinitionError, Delivery, DomainEvent, handles, on_migrate, publish, translates
from events.handling.kinds import Wanted
from events.handling.registry import Handler, handler_named
from events.store.tables import event_handlers
from events.testing import InlinePipeline

if TYPE_CHECKING:
    from decimal import Decimal as Unloaded


class Hit(DomainEvent): ...


class Missed(DomainEvent): ...


class AppSession(Session):
    def marked(self) -> str:
        return "ours"


class OtherSession(Session): ...


class Demanding(Session):
    def __init__(self, tenant: str) -> None: ...


class Executes(Protocol):
    def execute(self, statement: Any) -> Any: ...


Named = NewType("Named", Session)
Alias = TypeAliasType("Alias", Session | None)
Bound = TypeVar("Bound", bound=Session)
AnyHit = TypeVar("AnyHit", Hit, Missed)
default: Any = None
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def registered(name: str, function: Callable[..., Any], **options: Any) -> Handler:
    handles(Hit, name=name, **options)(function)
    return handler_named(name)


def with_annotation(annotation: object, given: Any = default) -> Callable[..., None]:
    def handler(event: Hit, asked: Any = given) -> None: ...

    handler.__annotations__["asked"] = annotation
    return handler


@pytest.mark.parametrize(
    ("annotation", "wanted"),
    [
        (Session, Wanted.SESSION), (Session | None, Wanted.SESSION), (Optional[Session], Wanted.SESSION),  # noqa: UP045
        (Annotated[Session, "depends"], Wanted.SESSION), (Annotated[Session | None, 7], Wanted.SESSION),
        (Named, Wanted.SESSION), (Alias, Wanted.SESSION), (Bound, Wanted.SESSION), (AppSession, Wanted.SESSION),
        (AppSession | None, Wanted.SESSION), ("Session | None", Wanted.SESSION), ("AppSession", Wanted.SESSION),
        (Connection | None, Wanted.CONNECTION), (Annotated[Connection, 1], Wanted.CONNECTION),
        (Delivery | None, Wanted.DELIVERY), (Hit | None, Wanted.EVENT), (Hit | Missed | None, Wanted.EVENT),
        (DomainEvent, Wanted.EVENT), (Annotated[Hit, 1], Wanted.EVENT), (AnyHit, Wanted.EVENT),
    ],
)  # fmt: skip
def test_what_a_parameter_with_a_default_asks_for_is_injected(annotation: object, wanted: Wanted) -> None:
    handler = registered(f"asks for {annotation}", with_annotation(annotation))
    assert handler.wants == {"event": Wanted.EVENT, "asked": wanted}


@pytest.mark.parametrize(
    "annotation", [list[Hit], Sequence[Hit], list[Annotated[Hit, 1]], list[Hit] | None, Annotated[list[DomainEvent], 1]]
)
def test_a_batch_may_say_its_list_in_many_ways(annotation: object) -> None:
    def handler(asked: Any, told: list[Delivery] | None = None) -> None: ...

    handler.__annotations__["asked"] = annotation
    wants = registered(f"takes {annotation}", handler, batch=10).wants
    assert wants == {"asked": Wanted.EVENTS, "told": Wanted.DELIVERIES}


@pytest.mark.parametrize(
    "annotation",
    [async_scoped_session, scoped_session, scoped_session[Session], Missed,
     Missed | None, list[Hit], list[Delivery] | None, Engine | None, AsyncEngine, sessionmaker, sessionmaker[Session]],
)  # fmt: skip
def test_a_default_hides_nothing_that_can_not_be_injected(annotation: object) -> None:
    with pytest.raises(DefinitionError, match=r"'hides' \(.*py:\d+\): parameter 'asked' is .*can't be injected"):
        registered("hides", with_annotation(annotation))


@pytest.mark.parametrize("annotation", [async_scoped_session, AsyncEngine, sessionmaker, scoped_session, Engine])
def test_who_asks_for_something_async_is_told_of_the_session_of_asyncio(annotation: type) -> None:
    with pytest.raises(DefinitionError) as caught:
        registered("asks", with_annotation(annotation))
    is_async = annotation.__name__.lower().startswith("async")
    assert ("ask for an AsyncSession or AsyncConnection" in str(caught.value)) == is_async
    assert ("ask for a Session or Connection" in str(caught.value)) != is_async


class AppAsyncSession(AsyncSession):
    pass


class Strange(AsyncSession):
    def __init__(self, tenant: str) -> None: ...


@pytest.mark.parametrize(
    ("annotation", "wanted"),
    [
        (AsyncSession, Wanted.ASYNC_SESSION), (AsyncSession | None, Wanted.ASYNC_SESSION),
        (Annotated[AsyncSession, 1], Wanted.ASYNC_SESSION), (AppAsyncSession, Wanted.ASYNC_SESSION),
        (AsyncConnection, Wanted.ASYNC_CONNECTION), (AsyncConnection | None, Wanted.ASYNC_CONNECTION),
    ],
)  # fmt: skip
def test_an_async_handler_is_given_sql_of_asyncio(annotation: object, wanted: Wanted) -> None:
    handler = registered(f"awaits {annotation}", awaiting(annotation))
    assert handler.wants == {"event": Wanted.EVENT, "asked": wanted}
    assert handler.is_awaited


def awaiting(annotation: object) -> Callable[..., Any]:
    async def handler(event: Hit, asked: Any = None) -> None: ...

    handler.__annotations__["asked"] = annotation
    return handler


@pytest.mark.parametrize("annotation", [AsyncSession, AsyncConnection | None, AppAsyncSession])
def test_a_plain_handler_is_told_how_to_have_sql_of_asyncio(annotation: object) -> None:
    cure = "make the handler `async def`, or ask for (Session|Connection)$"
    with pytest.raises(DefinitionError, match=rf"'plain' .*'asked' is .*, which a plain `def` can't await; {cure}"):
        registered("plain", with_annotation(annotation))


def test_a_handler_has_one_transaction_and_so_one_kind_of_sql() -> None:
    async def handler(event: Hit, session: Session, other: AsyncSession) -> None: ...

    with pytest.raises(DefinitionError, match=r"'both' .* both Session \('session'\) and AsyncSession \('other'\)"):
        registered("both", handler)


def test_a_session_class_that_can_not_be_made_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"'strange' .*asks for Strange, which can't be made"):
        registered("strange", awaiting(Strange))


def test_only_what_blocks_no_event_loop_runs_side_by_side() -> None:
    async def with_blocking_sql(event: Hit, session: Session) -> None: ...
    async def with_nothing(event: Hit) -> None: ...
    def plain(event: Hit) -> None: ...

    assert [registered(one.__name__, one).is_awaited for one in (with_blocking_sql, with_nothing, plain)] == [
        False,
        True,
        False,
    ]


def test_names_that_mean_ours_need_an_annotation_that_says_so() -> None:
    with pytest.raises(DefinitionError, match="parameter 'session' has no annotation"):

        @handles(Hit)
        def vague(event: Hit, session=None) -> None: ...  # type: ignore[no-untyped-def] # noqa: ANN001

    with pytest.raises(DefinitionError, match=r"parameter 'session' is .*Executes.*, which can't be injected"):

        @handles(Hit)
        def by_protocol(event: Hit, session: Executes | None = None) -> None: ...

    def own(event: Hit, limit: int = 7, clock: Callable[[], float] | None = None, note: str | None = None) -> None: ...

    assert registered("own defaults", own).wants == {"event": Wanted.EVENT}


def without_wraps(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: function(*args, **kwargs)


def takes_less(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(event: Hit) -> Any:
        return function(event)

    return wrapper


def plain(event: Hit, session: Session) -> None: ...


def positional(event: Hit, session: Session | None = None, /) -> None: ...


def unloaded(event: Hit, amount: "Unloaded | None" = None) -> None: ...


class Bell:
    def ring(self, event: Hit) -> None: ...

    @classmethod
    def of_class(cls, event: Hit) -> None: ...

    @staticmethod
    def of_none(event: Hit) -> None: ...

    async def __call__(self, event: Hit) -> None: ...


class Yields:
    def __call__(self, event: Hit) -> Iterator[None]:
        yield


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (without_wraps(plain), "functools.wraps"), (lambda **kwargs: None, "functools.wraps"),
        (lambda *args: None, "functools.wraps"), (takes_less(plain), "a decorator around it"),
        (positional, "positional-only"), (unloaded, "TYPE_CHECKING"), (Bell.ring, "bound to nothing"),
        (vars(Bell)["of_class"], "is a classmethod"), (Yields(), "generator"), (property(plain), "is a property"),
        (with_annotation(Demanding), "can't be made"),
        (functools.partial(lambda event, session: None), "no annotation"),
    ],
)  # fmt: skip
def test_what_would_fail_at_its_first_event_is_refused_at_import(function: Any, told: str) -> None:
    with pytest.raises(DefinitionError, match=rf"'fails' \(.*\).*{told}"):
        registered("fails", function)


def test_two_kinds_of_session_exclude_each_other() -> None:
    def both(event: Hit, one: AppSession, other: OtherSession) -> None: ...

    with pytest.raises(DefinitionError, match="both AppSession and OtherSession"):
        registered("both", both)

    def larger(event: Hit, one: Session, other: AppSession | None = None) -> None: ...

    assert registered("larger", larger).session is AppSession


@pytest.mark.parametrize(
    "target", [Bell(), Bell().ring, Bell.of_class, Bell.of_none, vars(Bell)["of_none"], functools.partial(plain)]
)
def test_whatever_can_be_called_can_be_a_handler(target: Any) -> None:
    assert registered(f"{target}", target).wants["event"] is Wanted.EVENT


def test_what_has_no_name_needs_one() -> None:
    for nameless in (functools.partial(plain), lambda event: None):
        with pytest.raises(DefinitionError, match=r"has no name of its own.*name=\.\.\."):
            handles(Hit)(nameless)


class Greeter:
    def handle(self, event: Hit) -> None: ...


class Called:
    def __call__(self, event: Hit) -> None: ...


class Misspelt:
    def handel(self, event: Hit) -> None: ...


@pytest.mark.parametrize("decorator", [handles, translates])
@pytest.mark.parametrize(
    "decorated",
    [plain, Bell().ring, vars(Bell)["of_class"], functools.partial(plain), Greeter, Called, Misspelt],
)
def test_a_decorator_without_parentheses_is_refused(decorator: Any, decorated: Any) -> None:
    with pytest.raises(DefinitionError, match=rf"@{decorator.__name__} at .* in parentheses"):
        decorator(decorated)


class NoEvent(BaseModel): ...


@pytest.mark.parametrize(
    ("events", "cure"),
    [([], "needs the event classes"), ([Hit()], "name its class: Hit"), ([[Hit, Missed]], "one by one"),
     (["Hit"], "no event"), ([None], "no event"), ([NoEvent], "no event"), ([DomainEvent], "abstract")],
)  # fmt: skip
def test_what_is_no_event_class_is_refused(events: Any, cure: str) -> None:
    def handler(event: Hit) -> None: ...

    with pytest.raises(DefinitionError, match=cure):
        handles(*events)(handler)


def test_on_migrate_is_for_a_plain_function_of_a_connection() -> None:
    async def later(connection: Connection) -> None: ...

    for wrong in (None, "create", later, lambda: None):
        with pytest.raises(DefinitionError, match="@on_migrate"):
            on_migrate(wrong)  # type: ignore[arg-type]


seen: list[Any] = []


@handles(Hit)
def uses_the_session_of_the_application(event: Hit, session: AppSession, plain: Session | None = None) -> None:
    session.execute(insert(event_handlers).values(handler="ours", changed_by="me", paused=True, changed_at=NOW))
    seen[:] = [session.marked(), plain is session]


def test_a_session_of_the_applications_own_is_in_the_deliverys_transaction(events_pipeline: InlinePipeline) -> None:
    # When an event is handled by a handler that asks for the application's own kind of session
    publish(Hit())
    events_pipeline.run()
    # Then it was given one, and what it wrote is there
    assert seen == ["ours", True]
    with events_pipeline.ledger.engine.connect() as connection:
        assert connection.scalar(select(event_handlers.c.changed_by).where(event_handlers.c.handler == "ours")) == "me"
