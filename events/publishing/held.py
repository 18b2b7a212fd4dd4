"""Rows that can't be written at once, as an event loop would wait for it: they are written when the session commits.

They share the fate of what is written beside them: a savepoint that is rolled back takes those with it that were held in
it, and a session that is closed forgets them all.
"""

from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.util.concurrency import in_greenlet

Write = Callable[[Session], None]

_held: "WeakKeyDictionary[Session, list[tuple[SessionTransaction, Write]]]" = WeakKeyDictionary()


def blocks(session: Session) -> bool:
    """Whether a statement of this session would have to be awaited here."""
    bind: Any = session.get_bind() if session.bind is None else session.bind
    return bool(bind.dialect.is_async) and not in_greenlet()


def hold(session: Session, write: Write) -> None:
    """Call `write` when the present transaction or savepoint of this session commits, and never if it rolls back."""
    if session not in _held:
        _held[session] = []
        event.listen(session, "before_commit", _write_all)
    now = session.get_nested_transaction() or session.get_transaction() or session.begin()
    _held[session] = [*_of_this_transaction(session), (now, write)]


def _write_all(session: Session) -> None:
    kept, _held[session] = list(_of_this_transaction(session)), []
    for _, write in kept:
        write(session)


def _of_this_transaction(session: Session) -> Iterator[tuple[SessionTransaction, Write]]:
    """What was held in the transactions and savepoints that are open. What was held in others was rolled back."""
    is_open: list[SessionTransaction] = []
    one = session.get_nested_transaction() or session.get_transaction()
    while one is not None:
        is_open.append(one)
        one = one.parent
    return ((transaction, write) for transaction, write in _held[session] if transaction in is_open)
