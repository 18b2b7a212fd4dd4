"""Which class of session a handler's parameters ask for: SQLAlchemy's own, or the application's subclass of it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from events.definition import parameters_of
from events.errors import DefinitionError
from events.handling.kinds import is_kind_of, is_of_asyncio

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


def session_class(function: Callable[..., object], what: str) -> type[Session]:
    """Which Session the parameters ask for; SQLAlchemy's own if they ask for none. Errors begin with `what`.

    Raises:
        DefinitionError: two that exclude each other, or one that can't be made as SQLAlchemy's is.
    """
    found: type[Session] = Session
    for parameter in parameters_of(function, what):
        for kind in parameter.choices:
            if not is_kind_of(kind, Session) or issubclass(found, kind):
                continue
            if not issubclass(kind, found):
                raise DefinitionError(
                    f"{what} asks for both {found.__name__} and {kind.__name__}; there is one session"
                )
            found = kind
    if found is not Session:
        try:
            found(None, join_transaction_mode="create_savepoint").close()
        except Exception as error:
            raise DefinitionError(
                f"{what} asks for {found.__name__}, which can't be made as Session(connection, "
                f"join_transaction_mode=...) is: {error}; ask for Session or Connection, and make it of that"
            ) from error
    return found


def async_session_class(function: Callable[..., object], what: str) -> "type[AsyncSession] | None":
    """Which AsyncSession the handler's parameters ask for, as `session_class`; None if they ask for none."""
    found: Any = None
    for parameter in parameters_of(function, what):
        for kind in parameter.choices:
            if not is_of_asyncio(kind, "AsyncSession") or (found is not None and issubclass(found, kind)):
                continue
            if found is not None and not issubclass(kind, found):
                raise DefinitionError(
                    f"{what} asks for both {found.__name__} and {kind.__name__}; there is one session"
                )
            found = kind
    if found is not None:
        made: list[Session] = []

        def make(**options: Any) -> Session:
            made.append(Session(**options))
            return made[0]

        try:
            session = found(sync_session_class=make)
            if session.sync_session is not made[0]:
                raise TypeError("it makes its Session by itself")
        except Exception as error:
            raise DefinitionError(
                f"{what} asks for {found.__name__}, which can't be made as AsyncSession(sync_session_class=...) is: "
                f"{error}; ask for AsyncSession or AsyncConnection, and make it of that"
            ) from error
    return found  # type: ignore[no-any-return]


def one_of(kinds: "list[tuple[str, Any]]") -> Any:
    """The most special of the session classes that a handler and its providers ask for; None if they ask for none.

    Args:
        kinds: each with the words that an error begins with.
    Raises:
        DefinitionError: two that exclude each other.
    """
    chosen: tuple[str, Any] | None = None
    for what, kind in kinds:
        if kind is None or (chosen is not None and issubclass(chosen[1], kind)):
            continue
        if chosen is not None and not issubclass(kind, chosen[1]):
            raise DefinitionError(
                f"{chosen[0]} asks for {chosen[1].__name__}, and {what} for {kind.__name__}; a delivery has one session"
            )
        chosen = what, kind
    return chosen[1] if chosen is not None else None
