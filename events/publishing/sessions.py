"""Checks the argument `session=`: it must be an object that ends the transaction which the event belongs to."""

import logging
import sys
from types import ModuleType
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, FromClause, Transaction, insert, table
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.orm import Session, SessionTransaction, scoped_session, sessionmaker

from events.errors import PublishError
from events.text import redact

log = logging.getLogger("events.publishing")

_warned: WeakSet[Engine] = WeakSet()

_WRITE = insert(table("event_store"))  # a session may send reads and writes to different databases: we mean the latter
_CURES = {
    sessionmaker: "call it, and give the session that you commit",
    Engine: "use `with engine.begin() as connection`, and give the connection",
    Transaction: "give its connection",
    SessionTransaction: "give its session",
}


def connection_of(session: object) -> Connection:
    """The connection of a Session, scoped_session or Connection, in its transaction.

    Raises:
        PublishError: `session` is of another type; the message names the type, and the cure.
        sqlalchemy.exc.SQLAlchemyError: the transaction has failed and must be rolled back first, for example.
    """
    if isinstance(session, Connection):
        return session
    if isinstance(session, scoped_session):
        session = session()
    if isinstance(session, Session):
        try:
            connection = session.connection(bind_arguments={"clause": _WRITE})
        except UnboundExecutionError:
            raise PublishError(
                f"session= is a {type(session).__name__} without a bind for the ledger: make it with bind=, the "
                f"engine of the database that has event_store, beside its binds=; or name one of its transactions: "
                f"session=session.connection(bind_arguments={{'mapper': SomeModel}})"
            ) from None
        _warn_of_other_databases(session, connection)
        return connection
    if (asyncio := _asyncio()) is not None and isinstance(
        session, (asyncio.AsyncSession, asyncio.AsyncConnection, asyncio.async_scoped_session)
    ):
        raise PublishError(f"session= is an {type(session).__name__}: use `await publish_async(event, session=...)`")
    raise _refused(session, "a SQLAlchemy Session, scoped_session or Connection")


def async_session_of(session: object) -> Any:
    """The AsyncSession or AsyncConnection, both of which have `run_sync`.

    Raises:
        PublishError: `session` is of another type; or greenlet is missing, which `run_sync` needs.
    """
    asyncio = _asyncio()
    if asyncio is not None and isinstance(session, asyncio.async_scoped_session):
        session = session()
    if asyncio is not None and isinstance(session, (asyncio.AsyncSession, asyncio.AsyncConnection)):
        _need_greenlet()
        return session
    if isinstance(session, (Connection, Session, scoped_session)):
        raise PublishError(f"session= is a {type(session).__name__}, not of asyncio: use `publish(event, session=...)`")
    raise _refused(session, "an AsyncSession, async_scoped_session or AsyncConnection")


def _warn_of_other_databases(session: Session, connection: Connection) -> None:
    """Warn of the other databases in a session's `binds`: rows there are in another transaction, which may end in
    another way."""
    binds = getattr(session, "binds", None) or getattr(session, "_Session__binds", {})  # since 2.1, and before
    for key, bind in binds.items():
        engine = bind.engine
        if engine is connection.engine or engine in _warned or session.twophase:
            continue
        if not _goes_to(session, key, engine):
            continue
        _warned.add(engine)
        log.warning(
            "publish(session=...) of a session with binds=: the event is written to %s, but the tables that are bound "
            "to %s are written in another transaction, and either may be committed without the other; record() in an "
            "AggregateRoot of that other database, publish(session=session.connection(bind_arguments={'mapper': "
            "...})), or twophase=True keep them together",
            _shown(connection.engine),
            _shown(engine),
        )


def _goes_to(session: Session, key: Any, engine: Engine) -> bool:
    """Whether the session writes rows of the table or class `key` to this engine. A class of sessions may decide
    otherwise than `binds` says, as that of handlers does.

    If the session can't tell without a statement, no warning is logged: publishing must not fail here.
    """
    if type(session).get_bind is Session.get_bind:
        return True
    try:
        return session.get_bind(**{"clause" if isinstance(key, FromClause) else "mapper": key}).engine is engine
    except Exception:
        return False


def _shown(engine: Engine) -> str:
    return redact(engine.url.render_as_string(hide_password=True))


def _refused(session: object, wanted: str) -> PublishError:
    cures = dict(_CURES)
    if (asyncio := _asyncio()) is not None:
        cures |= {
            asyncio.async_sessionmaker: _CURES[sessionmaker],
            asyncio.AsyncEngine: "use `async with engine.begin() as connection`, and give the connection",
            asyncio.AsyncTransaction: "give its connection",
        }
    cure = next((cure for kind, cure in cures.items() if isinstance(session, kind)), "")
    if not cure:
        cure = (
            "call it, and give the session that you commit"
            if callable(session)
            else "the transaction that is to commit the event must be one that SQLAlchemy has begun"
        )
    return PublishError(f"session= takes {wanted}, not {type(session).__name__}: {cure}")


def _need_greenlet() -> None:
    """Raise PublishError if greenlet is missing. Without it, SQLAlchemy 2.0 makes an AsyncSession all the same, and
    fails at the first statement; 2.1 fails on import."""
    try:
        import greenlet  # noqa: F401
    except ImportError as error:
        raise PublishError(
            f"publish_async(session=...) needs greenlet, as all of SQLAlchemy's asyncio does ({error}): "
            f"pip install 'celery-domain-events[asyncio]'"
        ) from None


def _asyncio() -> ModuleType | None:
    """SQLAlchemy's module for asyncio; None if this process has not imported it."""
    return sys.modules.get("sqlalchemy.ext.asyncio")
