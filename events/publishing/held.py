"""Rows that are written when their session commits: many in one statement, and without blocking an event loop.

They share the fate of what is written beside them: a savepoint that is rolled back takes those with it that were held
in it, and a session that is closed forgets them all.
"""

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, event
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.util.concurrency import in_greenlet

from events.ledger import Envelope
from events.publishing.sessions import connection_of

Write = Callable[[Connection, Sequence[Envelope]], None]

_MOST = 500  # rows that are held: more are written at once, if that is possible


class _Held:
    """What one session holds.

    Attributes:
        rows: the rows, each with the transaction or savepoint that holds it, and with what writes it.
        written: the transaction that commits just now, and whose rows were written.
    """

    def __init__(self) -> None:
        self.rows: list[tuple[SessionTransaction, Write, Envelope]] = []
        self.written: SessionTransaction | None = None


over: "WeakSet[SessionTransaction]" = WeakSet()  # transactions that have committed, while hooks of that are called
_held: "WeakKeyDictionary[Session, _Held]" = WeakKeyDictionary()


def blocks(session: Session) -> bool:
    """Whether a statement of this session would have to be awaited here."""
    try:
        bind: Any = session.get_bind() if session.bind is None else session.bind
    except UnboundExecutionError:  # it has binds= alone, of which one may be of asyncio
        return not in_greenlet()
    return bool(bind.dialect.is_async) and not in_greenlet()


def can_hold(session: Session) -> bool:
    """Whether it is this session that ends its transaction. One that was given a connection may only flush."""
    return not isinstance(session.bind, Connection)


def hold(session: Session, write: Write, rows: Sequence[Envelope]) -> None:
    """Write these rows when the session's present transaction or savepoint commits, and never if it rolls back."""
    held = _held.get(session)
    if held is None:
        held = _held[session] = _Held()
        event.listen(session, "before_commit", _write_all)
        event.listen(session, "after_commit", _hand_on)
    now = session.get_nested_transaction() or session.get_transaction() or session.begin()
    while now in over and now.parent is not None:  # a hook that is called once a savepoint is released
        now = now.parent
    if held.written is now:  # a hook of the application's, that is called by this commit after ours
        write(connection_of(session), rows)
        return
    held.rows += [(now, write, row) for row in rows]
    if len(held.rows) >= _MOST and not session.in_nested_transaction() and not blocks(session):
        _write(session, held)


def _write_all(session: Session) -> None:
    """Called before the session flushes, and commits. A savepoint has its rows written with those of all others."""
    if not session.in_nested_transaction():
        held = _held[session]
        _write(session, held)
        held.written = session.get_transaction()


def _hand_on(session: Session) -> None:
    """Called when a savepoint is released: what it holds is held by the one around from now on."""
    if (released := session.get_nested_transaction()) is not None and (around := released.parent) is not None:
        held = _held[session]
        held.rows = [(around if one is released else one, write, row) for one, write, row in held.rows]


def _write(session: Session, held: _Held) -> None:
    """Write what the transaction holds, outside of savepoints. What is held by others was rolled back with them."""
    if not held.rows:
        return
    now = session.get_transaction()
    rows, held.rows = held.rows, []
    by: dict[Write, list[Envelope]] = {}
    for transaction, write, row in rows:
        if transaction is now:
            by.setdefault(write, []).append(row)
    for write, envelopes in by.items():
        write(connection_of(session), envelopes)
