"""Events that another program marks as processed: handled all the same, or left to it, and each looked at once."""

import re
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text, update

from events.ledger.overview import MarkedByOthers
from events.ledger.records import Mark, Settled, State
from events.store.database.engine import now_plus
from events.store.outbox import SqlOutbox
from events.store.tables import event_store
from support.marked import MARK, marks
from support.store import HOUR, NOW, PAST, Store, together


def leaving(store: Store) -> SqlOutbox:
    """A relay that leaves them to the other program."""
    return SqlOutbox(store.ledger.background, listen=False, handle_marked=False)


def told(store: Store, event_id: UUID) -> str:
    found = store.ledger.history.event(event_id)
    assert found is not None
    return found.fan_out


def test_what_another_program_marked_is_handled_all_the_same_and_once(store: Store) -> None:
    # Given a relay that was away while another program marked what was published
    outbox = store.ledger.outbox
    store.subscribe("hear")
    store.subscribe("see")
    ids = [store.publish() for _ in range(5)]
    store.foreign(MARK)
    assert "no relay has looked at it" in told(store, ids[0])
    assert store.ledger.overviews.marked_by_others() == MarkedByOthers(waiting=5)
    assert outbox.due_in(copies=False) == NOW
    # When it is back, then fan-out alone finds nothing, and yet each handler gets each event
    assert outbox.fan_out(100).events == 0
    first, second, third = (outbox.settle_marked(3) for _ in range(3))
    assert [(one.looked_at, one.fanned_out.events, one.left) for one in (first, second)] == [(3, 3, 0), (2, 2, 0)]
    assert third == Settled()
    assert first.fanned_out.waiting == 6
    assert first.fanned_out.made == {("Said", "hear"): 3, ("Said", "see"): 3}
    taken = store.take()
    assert sorted((one.event_id, one.handler) for one in taken) == sorted(
        (one, handler) for one in ids for handler in ("hear", "see")
    )
    # And so it is said
    assert store.ledger.overviews.marked_by_others() == MarkedByOthers(handled=5)
    assert "its handlers run all the same" in told(store, ids[0])
    assert outbox.due_in(copies=False) != NOW


def test_what_we_fan_out_ourselves_is_nothing_of_that(store: Store) -> None:
    # Given events that were fanned out, at whatever moment the other program marks them as well
    store.subscribe()
    ids = [store.publish() for _ in range(3)]
    assert len(store.take()) == 3
    store.foreign("UPDATE event_store SET processed = true")
    # Then nothing is done about them, and nothing said
    assert store.ledger.outbox.settle_marked(10) == Settled()
    assert marks(store) == dict.fromkeys(ids, Mark.FANNED_OUT)
    assert store.ledger.overviews.marked_by_others().told() == ""
    assert told(store, ids[0]) == ""


def test_they_may_be_left_to_that_program_for_good(store: Store) -> None:
    # Given what another program marked, and a relay that leaves it
    store.subscribe()
    ids = [store.publish() for _ in range(3)]
    store.foreign(MARK)
    settled = leaving(store).settle_marked(10)
    assert (settled.looked_at, settled.fanned_out.events, settled.left) == (3, 0, 3)
    # Then none is handled, not even by a relay that would have
    assert store.ledger.outbox.settle_marked(10) == Settled()
    assert store.take() == []
    assert store.ledger.overviews.marked_by_others() == MarkedByOthers(left=3)
    assert "it is left to that program" in told(store, ids[0])


def documented_cure() -> str:
    """What docs/migrating.md says to run to have events handled after all, about our events."""
    text = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text()
    (cure,) = re.findall(r"```sql\n(UPDATE .*?)```", text, re.DOTALL)
    assert "'CardAdded' AND created_at > '2026-11-01'" in cure
    return cure.replace("CardAdded", "Said").replace("2026-11-01", "2000-01-01")


@pytest.mark.parametrize("still_leaving", [False, True])
def test_what_was_left_is_handled_after_all_by_the_documented_cure(store: Store, *, still_leaving: bool) -> None:
    # Given events that were left for good: one that is older than its handler, and one that a relay left
    old = store.publish()
    with store.ledger.events.begin() as connection:
        connection.execute(update(event_store).values(created_at=now_plus(connection, -HOUR)))
    store.subscribe()
    new = store.publish()
    other = store.publish(event_type="Sung")
    store.foreign(MARK)
    assert leaving(store).settle_marked(10).looked_at == 3
    # When an operator does what docs/migrating.md says
    store.foreign(documented_cure())
    # Then they are handled, whatever the relay does with what is marked, and no others
    outbox = leaving(store) if still_leaving else store.ledger.outbox
    assert outbox.settle_marked(10) == Settled()
    assert {one.event_id for one in store.take()} == {old, new}
    assert marks(store) == {old: Mark.FANNED_OUT, new: Mark.FANNED_OUT, other: Mark.LEFT}


def test_what_nobody_here_wants_is_that_programs_own(store: Store) -> None:
    # Given events of a type that no handler here takes: of one the other program has marked, of one it hasn't
    store.subscribe()
    theirs = store.publish(event_type="Sung")
    store.foreign(MARK)
    assert store.ledger.outbox.settle_marked(10) == Settled(1)
    waits = store.publish(event_type="Sung")
    # Then nobody is told of it
    assert store.ledger.overviews.marked_by_others() == MarkedByOthers()
    # When a handler takes them at last, then it gets what waits, and no history
    store.subscribe("sing", event_type="Sung")
    assert [one.event_id for one in store.take()] == [waits]
    assert store.ledger.outbox.settle_marked(10) == Settled()
    assert marks(store) == {theirs: Mark.LEFT, waits: Mark.FANNED_OUT}


def test_a_paused_handler_stays_paused(store: Store) -> None:
    store.subscribe()
    store.ledger.switches.pause("hear", "ann")
    event_id = store.publish()
    store.foreign(MARK)
    assert store.ledger.outbox.settle_marked(10).fanned_out.events == 1
    assert store.row(event_id).state == State.PAUSED


def test_nothing_is_pruned_that_no_relay_has_looked_at(store: Store) -> None:
    # Given old events that another program marked while no relay ran
    store.subscribe()
    for kind in ("Said", "Sung"):
        store.publish(event_type=kind)
    store.foreign(MARK)
    store.foreign("UPDATE event_subscriptions SET subscribed_at = NULL")
    # When old events are pruned, then those stay
    assert list(store.ledger.retention.prune(NOW, 10)) == []
    # And when they were looked at, those go that were left; the others when they are handled
    store.ledger.outbox.settle_marked(10)
    assert [one.events for one in store.ledger.retention.prune(PAST, 10)] == [1]
    with store.ledger.inbox.begin() as connection:
        store.ledger.inbox.succeed(connection, [store.claim(store.take()[0])])
    assert [one.events for one in store.ledger.retention.prune(PAST, 10)] == [1]


def test_relays_and_another_program_at_once_hand_out_each_event_once(store: Store) -> None:
    # Given two relays that fan out and look, and another program that marks what it finds, all at once
    store.subscribe()
    ids = [uuid4() for _ in range(300)]
    done = threading.Event()

    def publish() -> None:
        for start in range(0, len(ids), 10):
            store.publish(*ids[start : start + 10])
        done.set()

    def mark() -> None:
        while not done.is_set():
            store.foreign(MARK)
        store.foreign(MARK)

    def relay() -> int:
        made, quiet = 0, 0
        while quiet < 3:
            new, settled = store.ledger.outbox.fan_out(7), store.ledger.outbox.settle_marked(7)
            made += new.events + settled.fanned_out.events
            quiet = quiet + 1 if done.is_set() and not new.events and not settled.looked_at else 0
        return made

    # When all is done
    _, _, first, second = together(publish, mark, relay, relay)
    last = relay()  # what was marked after both had ended
    # Then each event has its delivery
    assert first + second + last == len(ids)
    assert sorted(one.event_id for one in store.take()) == sorted(ids)
    assert set(marks(store).values()) <= {Mark.FANNED_OUT, Mark.ALL_THE_SAME}


def test_to_look_for_them_reads_no_history(store: Store) -> None:
    # Given a past, and what another program marked of it: much that was left long ago, and a little that is new
    store.subscribe()
    fill = """
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
        INSERT INTO event_store (id, event_type, event_data, processed, fanned_out, created_at)
        SELECT {id}, 'Said', '{{}}', true, CASE WHEN i & 3 = 0 THEN 3 ELSE 1 END, {ago} FROM n
    """
    if store.sqlite:
        uuid = "lower(printf('00000000-0000-4000-8000-%012x', i))"
        store.foreign(fill.format(id=uuid, ago="'2020-01-01 00:00:00'"))
    else:
        store.foreign(fill.format(id="gen_random_uuid()", ago="now() - interval '3 days'"))
    with store.ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE event_store"))
    store.publish()
    store.foreign(MARK)
    # When a relay and an operator look for it
    with store.statements() as seen:
        assert store.ledger.outbox.due_in(copies=True) == timedelta(0)
        assert store.ledger.outbox.settle_marked(10).fanned_out.events == 1
        assert store.ledger.overviews.marked_by_others() == MarkedByOthers(handled=1)
        assert store.ledger.outbox.settle_marked(10) == Settled()
    # Then they read a few rows of the index in which it stands
    looks = [(statement, values) for statement, values in seen if "fanned_out != " in statement]
    assert len(looks) >= 4
    for statement, values in looks:
        plan = _plan(store.ledger.engine, statement, values)
        assert "event_store_marked" in plan, plan
        assert "Seq Scan on event_store" not in plan, plan
        assert "SCAN event_store" not in plan, plan


def _plan(engine: Engine, statement: str, values: Any) -> str:
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"{explain} {statement}", values).all()
        connection.rollback()
    return "\n".join(str(row[-1]) for row in rows)
