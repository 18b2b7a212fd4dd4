"""Writes events whose ids may be stored already: the same event again changes nothing, another one is an error."""

from collections.abc import Callable, Collection, Sequence
from uuid import UUID

from sqlalchemy import Connection, Text, cast, delete, func, select

from events.errors import EventIdTaken, PublishError
from events.ledger import Envelope, check_repeat
from events.store.database.lent_transaction import OURS
from events.store.tables import event_store

_EVENT = event_store.c
_AT_ONCE = 500  # ids in one query
_TRIES = 5

Insert = Callable[[Sequence[Envelope]], Collection[UUID]]


def write_once(connection: Connection, envelopes: Sequence[Envelope], insert: Insert) -> None:
    """Write those that are not stored, by `insert`, which returns the ids that it has written.

    Usually that is all; only what it left out is looked up.

    Raises:
        EventIdTaken: one of them is not the event that is stored, or given before it. Then none of them is written.
        PublishError: what is in the way can't be seen.
    """
    left, ours = _without_repeats(envelopes), list[UUID]()
    for _ in range(_TRIES):
        written = insert(left)
        if len(written) == len(left):
            return
        ours += written
        left = [one for one in left if one.id not in written]
        there = stored(connection, [one.id for one in left])
        try:
            for one in left:
                if one.id in there:
                    check_repeat(one, there[one.id])
        except EventIdTaken:
            _take_back(connection, ours)
            raise
        left = [one for one in left if one.id not in there]  # what was in the way is gone again: it was pruned
        if not left:
            return
    _take_back(connection, ours)
    raise PublishError(
        f"event {left[0].event_type} {left[0].id} was not stored: the database left it out, and shows no other of its "
        "id; look for triggers, rules and row-level security of event_store"
    )


def stored(connection: Connection, ids: Collection[UUID]) -> dict[UUID, Envelope]:
    """The events with these ids, as far as this transaction sees them."""
    found: dict[UUID, Envelope] = {}
    wanted = list(ids)
    for start in range(0, len(wanted), _AT_ONCE):
        query = select(
            _EVENT.id, func.coalesce(_EVENT.aggregate_id, ""), _EVENT.event_type, cast(_EVENT.event_data, Text),
            _EVENT.version, _EVENT.timestamp, _EVENT.schema_version, cast(_EVENT.metadata, Text),
        ).where(_EVENT.id.in_(wanted[start : start + _AT_ONCE]))  # fmt: skip
        rows = connection.execute(query, execution_options=OURS)
        found |= {row[0]: Envelope(*row) for row in rows}
    return found


def _without_repeats(envelopes: Sequence[Envelope]) -> Sequence[Envelope]:
    if len(envelopes) == 1:
        return envelopes
    first: dict[UUID, Envelope] = {}
    for one in envelopes:
        if (known := first.setdefault(one.id, one)) is not one:
            check_repeat(one, known)
    return list(first.values())


def _take_back(connection: Connection, ids: Sequence[UUID]) -> None:
    """Nobody else has seen them: they were written a moment ago, in this very transaction."""
    for start in range(0, len(ids), _AT_ONCE):
        connection.execute(delete(event_store).where(_EVENT.id.in_(ids[start : start + _AT_ONCE])))
