"""Fenced writes of attempts: a write changes a delivery only if it is running with the attempt's very token.

The number in a key is a token here: see events.store.delivery_keys.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Update, and_, update

from events.ledger import Claim, State
from events.store.conditions import is_of_state
from events.store.database.engine import moment
from events.store.delivery_keys import Key, is_key, key_table, key_values, unlocked
from events.store.tables import event_deliveries

_DELIVERY = event_deliveries.c
# What a delivery that succeeded needs no more. Its row is written anyway, and so becomes smaller.
NO_LONGER = dict.fromkeys(("message", "error_type", "error", "traceback", "place"))


def key_of(claim: Claim) -> Key:
    return claim.envelope.id, claim.handler, claim.token


def is_still(key: Key) -> ColumnElement[bool]:
    """The delivery is running, with this very token."""
    event_id, handler, token = key
    return and_(
        _DELIVERY.event_id == event_id,
        _DELIVERY.handler == handler,
        is_of_state(State.RUNNING),
        _DELIVERY.attempts == token,
    )


def write(connection: Connection, keys: Iterable[Key], **values: Any) -> int:
    """Write to the deliveries that are running with these tokens; return their number."""
    dialect = connection.dialect.name
    return connection.execute(still_ours(dialect).values(**values), key_values(dialect, keys)).rowcount


# Each statement is built once: SQLAlchemy takes longer to build a statement than PostgreSQL to answer it.


@cache
def still_ours(dialect: str) -> Update:
    return update(event_deliveries).where(_are_still_ours(dialect))


@cache
def extending(dialect: str) -> Update:
    """Extend leases. A delivery that another transaction has locked is tried again a moment later: others must not
    wait.
    """
    return update(event_deliveries).where(unlocked(_are_still_ours(dialect)))


@cache
def succeeding(dialect: str, *, one: bool) -> Update:
    return (
        update(event_deliveries)
        .where(_are_still_ours(dialect, one=one))
        .values(state=State.SUCCEEDED, finished_at=moment(dialect), **NO_LONGER)
    )


def _are_still_ours(dialect: str, *, one: bool = False) -> ColumnElement[bool]:
    keys = key_table(dialect, one=one)
    return and_(is_key(keys), is_of_state(State.RUNNING), _DELIVERY.attempts == keys.c.number)
