"""What went missing is asked for by one question, and found by what looks for each kind."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import insert, update

from events.operating.handlers import Upkeep
from events.store.tables import event_deliveries, event_handlers, event_store, event_subscriptions
from support.store import HOUR, Store

HOURS = timedelta(hours=-1)


def lease_that_ended(store: Store) -> None:
    store.running(lease=HOURS)


def one_still_paused(store: Store) -> None:
    ago = datetime.now(UTC) - HOUR
    row = {"event_id": uuid4(), "handler": "hear", "queue": "q", "state": "paused", "event_type": "Said",
           "due_at": ago, "created_at": ago}  # fmt: skip
    with store.ledger.events.begin() as connection:
        connection.execute(insert(event_deliveries), [row])


def old_note_of_a_switch(store: Store) -> None:
    row = {"handler": "hear", "paused": False, "changed_by": "ann", "changed_at": datetime.now(UTC) - HOUR}
    with store.ledger.events.begin() as connection:
        connection.execute(insert(event_handlers), [row])


def subscription_that_changed(store: Store) -> None:
    store.subscribe("sees")


def wake_up_of_long_ago(store: Store) -> None:
    store.subscribe()
    store.publish()
    store.take(stale_after=HOURS)


def dead_letter(store: Store) -> None:
    store.dead()


def event_marked_by_others(store: Store) -> None:
    event_id = store.publish()
    with store.ledger.events.begin() as connection:
        connection.execute(update(event_store).where(event_store.c.id == event_id).values(processed=True))


ALL: dict[Callable[[Store], None], str] = {
    lease_that_ended: "leases", one_still_paused: "paused", old_note_of_a_switch: "paused",
    subscription_that_changed: "astray", wake_up_of_long_ago: "overdue", dead_letter: "uncopied",
    event_marked_by_others: "marked",
}  # fmt: skip


def settle(store: Store) -> None:
    """Subscriptions changed long ago, and what came of it is done with."""
    with store.ledger.events.begin() as connection:
        connection.execute(update(event_subscriptions).values(changed_at=None))


@pytest.mark.parametrize("happened", ALL, ids=lambda happened: happened.__name__)
def test_of_each_kind_it_is_told_that_there_is_some_until_it_was_found(
    store: Store, happened: Callable[[Store], None]
) -> None:
    # Given something of one kind
    happened(store)
    kind = ALL[happened]
    if kind != "astray":
        settle(store)
    # When it is asked for, then it is told, and nothing else is
    told = asdict(store.ledger.recovery.missing())
    assert [name for name, there in told.items() if there] == [kind]
    # And after what looks for it has been there, no more
    recovery = store.ledger.recovery
    recovery.expire_leases(10)
    recovery.unpause(10)
    recovery.mark_copied(recovery.take_uncopied(10))
    for queue, count in recovery.overdue().items():
        recovery.resend(queue, count)
    store.ledger.outbox.settle_marked(10)
    settle(store)
    assert not any(asdict(recovery.missing()).values())


def test_who_may_still_come_back_has_lost_no_lease(store: Store) -> None:
    store.running(lease=timedelta(seconds=-30))
    assert store.ledger.recovery.missing(timedelta(0)).leases
    assert not store.ledger.recovery.missing(timedelta(minutes=1)).leases


def test_what_is_paused_and_what_a_switch_was_of_late_is_not_missing(store: Store) -> None:
    # Given a handler that is paused, of which a delivery waits, and one that was resumed a moment ago
    store.subscribe()
    store.subscribe("sees", event_type="Other")
    upkeep = Upkeep(store.ledger.switches, store.ledger.overviews, store.ledger.workers)
    upkeep.pause("hear", "ann")
    upkeep.pause("sees", "ann")
    upkeep.resume("sees", "ann")
    store.publish()
    assert store.take() == []
    # Then nothing of it is to be done
    assert not store.ledger.recovery.missing().paused


def test_it_takes_one_statement(store: Store) -> None:
    with store.statements() as statements:
        store.ledger.recovery.missing()
    asked = [one for one, _ in statements if one != "BEGIN"]
    assert len(asked) == 1, asked
