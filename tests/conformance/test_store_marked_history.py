"""Of the events that another program marks as processed, what a handler gets and what is history to it."""

from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import update

from events.ledger.records import Mark, Settled, State
from events.store import check_schema, migrate, subscriptions
from events.store.database.engine import now_plus
from events.store.tables import event_deliveries, event_store, event_subscriptions
from support.marked import INSERT, MARK, marks, postgres_only
from support.roles import Role
from support.store import HOUR, Store


@postgres_only
def test_an_event_is_no_handlers_past_while_its_transaction_is_open(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an event of an hour ago, and a writer's transaction that is open for longer than clocks may differ
    monkeypatch.setattr(subscriptions, "_OFF", timedelta(0))
    before = store.publish()
    with store.ledger.events.begin() as connection:
        connection.execute(update(event_store).values(created_at=now_plus(connection, -HOUR)))
    with psycopg.connect(store.url) as writer:
        writer.execute(INSERT)
        # When a handler subscribes, and one more when the writer has ended
        store.subscribe()
    store.subscribe("see")
    # Then the former gets the event of that writer, though its processor is first
    store.foreign(MARK)
    assert store.ledger.outbox.settle_marked(10).fanned_out.made == {("Said", "hear"): 1}
    assert marks(store)[before] == Mark.LEFT


@postgres_only
def test_a_writer_whose_transaction_cannot_be_seen_has_ten_seconds(store: Store) -> None:
    # Given a role that may not see since when others' transactions are open
    role = Role(store.url)
    role.may("ALL ON ALL TABLES IN SCHEMA public")
    poor = Store(role.url)
    try:
        with psycopg.connect(store.url) as writer:
            writer.execute(INSERT)
            # When its handler subscribes while an event is on its way
            poor.subscribe()
    finally:
        poor.ledger.close()
        role.gone()
    # Then it gets that, as it has not been for long
    store.foreign(MARK)
    assert store.ledger.outbox.settle_marked(10).fanned_out.events == 1


def test_a_handler_gets_none_that_was_stored_before_it_subscribed(store: Store) -> None:
    # Given events that another program marked, and no relay that would have looked at them
    store.subscribe("early")
    before = store.publish()
    history = store.publish(event_type="Sung")
    with store.ledger.events.begin() as connection:
        connection.execute(update(event_store).values(created_at=now_plus(connection, -HOUR)))
        long_ago = now_plus(connection, -2 * HOUR)
        connection.execute(update(event_subscriptions).values(subscribed_at=long_ago))
    store.foreign(MARK)
    # When handlers subscribe, and an event comes after that
    store.subscribe("late")
    store.subscribe("late", event_type="Sung")
    after = store.publish()
    store.foreign(MARK)
    settled = store.ledger.outbox.settle_marked(10)
    # Then they get that one alone; whoever was subscribed before gets both
    assert settled.fanned_out.made == {("Said", "early"): 2, ("Said", "late"): 1}
    assert settled.left == 1
    assert marks(store) == {before: Mark.ALL_THE_SAME, history: Mark.LEFT, after: Mark.ALL_THE_SAME}


def test_an_event_of_the_second_in_which_a_handler_subscribed_is_its_own(store: Store) -> None:
    # Given a program that writes whole seconds, as SQLite's CURRENT_TIMESTAMP has them
    store.subscribe()
    when = "CURRENT_TIMESTAMP" if store.sqlite else "date_trunc('second', now())"
    store.foreign("INSERT INTO event_store (id, event_type, event_data, processed, created_at) "
                  f"VALUES (?, 'Said', '{{}}', true, {when})", str(uuid4()))  # fmt: skip
    assert store.ledger.outbox.settle_marked(10).fanned_out.events == 1


def test_a_subscription_of_older_code_has_no_beginning(store: Store) -> None:
    store.subscribe()
    store.foreign("UPDATE event_subscriptions SET subscribed_at = NULL")
    store.publish()
    store.foreign(MARK)
    assert store.ledger.outbox.settle_marked(10).fanned_out.events == 1
    # And what newer code says of it later is not its beginning
    store.subscribe(max_attempts=7)
    store.publish()
    store.foreign(MARK)
    assert store.ledger.outbox.settle_marked(10).fanned_out.events == 1


def test_what_older_code_of_ours_fanned_out_is_not_handled_twice(store: Store) -> None:
    # Given a relay of the version before, which marks what it fans out as others do
    store.subscribe("hear")
    ids = [store.publish() for _ in range(3)]
    assert len(store.take()) == 3
    with store.ledger.events.begin() as connection:
        connection.execute(update(event_store).values(fanned_out=Mark.NOT_YET.value))
        connection.execute(update(event_deliveries).values(state=State.SUCCEEDED))
    # When a newer one looks, even for a handler that came with it, then there is nothing to do or to tell
    store.foreign("INSERT INTO event_subscriptions (handler, event_type, queue, max_attempts) "
                  "VALUES ('see', 'Said', 'q', 1)")  # fmt: skip
    settled = store.ledger.outbox.settle_marked(10)
    assert (settled.looked_at, settled.fanned_out.events, settled.left) == (3, 0, 0)
    assert store.take() == []
    assert store.count(event_deliveries) == 3
    assert marks(store) == dict.fromkeys(ids, Mark.FANNED_OUT)


def test_what_was_processed_before_the_ledger_could_tell_is_history(store: Store) -> None:
    # Given a ledger of the version before, with history and with what waits
    store.subscribe()
    done = store.publish()
    store.foreign(MARK)
    waits, unheard = store.publish(), store.publish(event_type="Unheard")
    for statement in (
        "DROP INDEX event_store_marked", "ALTER TABLE event_store DROP COLUMN fanned_out",
        "ALTER TABLE event_subscriptions DROP COLUMN subscribed_at",
        "ALTER TABLE event_subscriptions DROP COLUMN public",
        "DROP TABLE event_leases",
        "UPDATE events_schema SET version_num = '0011'",
    ):  # fmt: skip
        store.foreign(statement)
    # When it is migrated, then history stays history
    assert migrate(store.ledger.engine)[0] == "0012"
    check_schema(store.ledger.engine)
    assert marks(store) == {done: Mark.FANNED_OUT, waits: Mark.NOT_YET, unheard: Mark.NOT_YET}
    assert store.ledger.outbox.settle_marked(10) == Settled()
    # And what waited is handled, though another program marks it now, as is what comes
    comes = store.publish()
    store.foreign(MARK)
    assert store.ledger.outbox.settle_marked(10).fanned_out.events == 2
    assert {one.event_id for one in store.take()} == {waits, comes}
