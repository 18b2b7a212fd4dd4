"""Writes events whose ids may be stored already: the same event again changes nothing, another event is an error."""

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
    """Write the events that are not stored yet, by `insert`, which returns the ids that it has written.

    Only events that `insert` left out are looked up; usually there are none.

    Raises:
        EventIdTaken: an event differs from the stored event of the same id, or from an event given before it. Then no
            event is written.
        PublishError: the database left an event out, but shows no event of the same id.
    """
    left, ours = _without_repeats(envelopes), list[UUID]()
    for _ in range(_TRIES):
        written = insert(left)
        if len(written) == len(left):
            return
        ours += written
        left = [envelope for envelope in left if envelope.id not in written]
        there = stored(connection, [envelope.id for envelope in left])
        try:
            for envelope in left:
                if envelope.id in there:
                    check_repeat(envelope, there[envelope.id])
        except EventIdTaken:
            _take_back(connection, ours)
            raise
        left = [
            envelope for envelope in left if envelope.id not in there
        ]  # the stored event is gone again: it was pruned
        if not left:
            return
    _take_back(connection, ours)
    raise PublishError(
        f"event {left[0].event_type} {left[0].id} was not stored: the database left it out, and shows no other of its "
        "id; look for triggers, rules and row-level security of event_store"
    )


def stored(connection: Connection, ids: Collection[UUID]) -> dict[UUID, Envelope]:
    """Return those of the events with these ids that this transaction sees."""
    envelopes: dict[UUID, Envelope] = {}
    wanted = list(ids)
    for start in range(0, len(wanted), _AT_ONCE):
        query = select(
            _EVENT.id,
            func.coalesce(_EVENT.aggregate_id, ""),
            _EVENT.event_type,
            cast(_EVENT.event_data, Text),
            _EVENT.version,
            _EVENT.timestamp,
            _EVENT.schema_version,
            cast(_EVENT.metadata, Text),
        ).where(_EVENT.id.in_(wanted[start : start + _AT_ONCE]))
        rows = connection.execute(query, execution_options=OURS)
        envelopes |= {row[0]: Envelope(*row) for row in rows}
    return envelopes


def _without_repeats(envelopes: Sequence[Envelope]) -> Sequence[Envelope]:
    if len(envelopes) == 1:
        return envelopes
    first: dict[UUID, Envelope] = {}
    for envelope in envelopes:
        if (known := first.setdefault(envelope.id, envelope)) is not envelope:
            check_repeat(envelope, known)
    return list(first.values())


def _take_back(connection: Connection, ids: Sequence[UUID]) -> None:
    """Delete events that were written a moment ago in this very transaction, so that no other transaction has seen
    them.
    """
    for start in range(0, len(ids), _AT_ONCE):
        connection.execute(delete(event_store).where(_EVENT.id.in_(ids[start : start + _AT_ONCE])))
