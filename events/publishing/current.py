"""The caller's transaction, for those who publish without naming it: the tasks of `events.outbox(app)`.

It is the one of `with transaction(...)`; or that of the one session which the present code has begun or changed. A
session belongs to the context (the thread, or the task of asyncio) that has used it last.

A transaction that SQLAlchemy has begun by itself, and in which nothing was changed so far, is none: an attribute that
is loaded anew after a commit begins one, and nobody commits it.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, TextClause, event
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction, SessionTransactionOrigin, sessionmaker
from sqlalchemy.orm import scoped_session as ScopedSession  # noqa: N812 - a class of SQLAlchemy's, by its kind

from events.errors import ConfigurationError, PublishError
from events.publishing.held import over
from events.publishing.sessions import connection_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session

Transacting = Session | Connection

_WRITES = ("INSERT", "UPDATE", "DELETE", "MERGE", "WITH")  # and what is more than one of these: nobody selects by them

_given: ContextVar[Transacting | None] = ContextVar("events_transaction", default=None)
_seen: ContextVar[tuple["weakref.ref[Session]", ...]] = ContextVar("events_sessions", default=())
_changed: "weakref.WeakSet[Session]" = weakref.WeakSet()  # sessions that have changed something in their transaction


@contextmanager
def transaction(
    session: "Session | ScopedSession[Any] | Connection | AsyncSession | async_scoped_session[Any]",
) -> Iterator[None]:
    """Tasks that are sent in this block belong to this transaction, and so do events that are published without
    `session=`: they are sent if it commits, and never if it rolls back.

    Raises:
        PublishError: `session` is of another type; the message names the cure.
    """
    token = _given.set(transacting(session))
    try:
        yield
    finally:
        _given.reset(token)


def transacting(session: object) -> Transacting:
    """The Session or Connection that is meant. Raises PublishError."""
    if isinstance(session, ScopedSession):
        session = session()
    if isinstance(session, (Session, Connection)):
        return session
    kind = type(session).__name__
    if kind == "async_scoped_session":
        session = session()  # type: ignore[operator]
    if isinstance(found := getattr(session, "sync_session", None), Session):
        return found
    if kind == "AsyncConnection":
        raise PublishError(
            "an AsyncConnection can't be written to from here: `await connection.run_sync(send)`, with a function "
            "`send(connection)` that names the connection which it is given"
        )
    connection_of(session)  # which refuses it, and says why
    raise AssertionError("unreachable")


def given() -> Transacting | None:
    """The transaction of the innermost `with transaction(...)`, if there is one."""
    return _given.get()


def begun(among: Callable[[Session], bool]) -> Session | None:
    """The one session that this context has in a transaction, of those that `among` chooses; None if there is none.

    Raises:
        PublishError: there are several, so that it can't be known which is meant.
    """
    found = [one for one in _alive(_seen.get()) if _counts(one) and among(one)]
    if len(found) > 1:
        raise PublishError(
            f"{len(found)} sessions are in a transaction here ({' and '.join(map(_shown, found))}), and it can't be "
            f"known which is meant: say it by `with events.transaction(session):`, or by session=... of apply_async; "
            f"or let events.outbox(app, sessions=...) name the sessionmaker of those that matter"
        )
    return found[0] if found else None


def _counts(session: Session) -> bool:
    root = session.get_transaction()
    if root is None or root in over:
        return False
    if root.origin is SessionTransactionOrigin.BEGIN or session.in_nested_transaction() or session in _changed:
        return True
    return bool(session.new or session.deleted or session.dirty)


def choice_of(sessions: object) -> Callable[[Session], bool]:
    """Tells whether a session is one of those that `sessions` names: sessionmakers, classes of sessions, scoped
    sessions or engines, also those of asyncio; one, or a list of several.

    Raises:
        ConfigurationError: it is of another type.
    """
    named = list(sessions) if isinstance(sessions, (list, tuple, set, frozenset)) else [sessions]
    tests = [_test_of(one) for one in named]
    return lambda session: any(test(session) for test in tests)


def _test_of(one: Any) -> Callable[[Session], bool]:
    if isinstance(one, ScopedSession) or type(one).__name__ == "async_scoped_session":
        one = one.session_factory
    if isinstance(one, sessionmaker):
        one = one.class_
    if isinstance(one, type) and issubclass(one, Session):
        kind = one
        return lambda session: isinstance(session, kind)
    if type(one).__name__ == "async_sessionmaker":
        one = one.kw.get("bind")
    engine = getattr(one, "sync_engine", one)
    if isinstance(engine, Engine):
        return lambda session: _engine_of(session) is engine
    raise ConfigurationError(
        f"sessions= takes a sessionmaker, scoped_session, class of sessions or engine, or a list of them, not {one!r}"
    )


def _engine_of(session: Session) -> Engine | None:
    bind: Any = session.bind
    return None if bind is None else bind.engine


def watch() -> None:
    """From now on, know which sessions of this process are in a transaction. May be called again."""
    for name, listener in (
        ("after_transaction_create", _created),
        ("after_transaction_end", _ended),
        ("do_orm_execute", _executes),
        ("after_commit", _committed),
        ("before_flush", _flushes),
        ("after_attach", _flushes),
    ):
        if not event.contains(Session, name, listener):
            event.listen(Session, name, listener, insert=True)  # before the application's own, which may send tasks


def _created(session: Session, transaction: SessionTransaction) -> None:
    _see(session)
    if transaction.origin is SessionTransactionOrigin.SUBTRANSACTION:  # of a flush, or of the bulk methods
        _changed.add(session)


def _committed(session: Session) -> None:
    if (ended := session.get_nested_transaction() or session.get_transaction()) is not None:
        over.add(ended)


def _ended(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        _changed.discard(session)


def _executes(state: ORMExecuteState) -> None:
    _see(state.session)
    statement: Any = state.statement
    if isinstance(statement, TextClause):
        writes = statement.text.lstrip(" \n\t(").upper().startswith(_WRITES)
    else:
        writes = bool(getattr(statement, "is_dml", False))
    if writes:
        _changed.add(state.session)


def _flushes(session: Session, *_: Any) -> None:
    _see(session)


def _see(session: Session) -> None:
    known = _seen.get()
    if known and known[-1]() is session:
        return
    alive = [weakref.ref(one) for one in _alive(known) if one is not session and one.in_transaction()]
    _seen.set((*alive, weakref.ref(session)))


def _alive(refs: tuple["weakref.ref[Session]", ...]) -> Iterator[Session]:
    return (session for ref in refs if (session := ref()) is not None)


def _shown(session: Session) -> str:
    engine = _engine_of(session)
    place = f" of {engine.url.render_as_string(hide_password=True)}" if engine is not None else ""
    return f"a {type(session).__name__}{place}"
