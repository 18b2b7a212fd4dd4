"""Workers of several versions say what their handlers want: nothing that one adds is another's to take away."""

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import select, text

from events.errors import NoSuchHandler, StillRunning
from events.ledger.dead_letters import DeadLetterFilter
from events.ledger.records import Express, Subscription
from events.operating.handlers import Upkeep
from events.store.tables import event_subscriptions
from support.store import HOUR, NOW, OOPS, Store, together

OLD = Subscription(event_type="Said", handler="hear", queue="old", max_attempts=3, masked=("iban",))
NEW = replace(OLD, queue="new", max_attempts=9, masked=("card",))


class Version:
    """A worker of some code, as far as the ledger sees it."""

    def __init__(self, store: Store, name: str, *wants: Subscription) -> None:
        self._store, self._name, self._wants = store, name, wants

    def start(self) -> "Version":
        """In the order of a real one: LedgerStep, then PresenceStep."""
        ledger = self._store.ledger
        ledger.subscriptions.subscribe(self._wants)
        handlers: dict[str, dict[str, str]] = {}
        definitions: dict[str, dict[str, str]] = {}
        for one in self._wants:
            handlers.setdefault(one.handler, {})[one.event_type] = "1:x"
            definitions.setdefault(one.handler, {})[one.event_type] = one.definition
        worker = replace(self._store.worker(self._name, handlers), definitions=definitions)
        ledger.workers.announce(worker)
        ledger.subscriptions.subscribe(self._wants)
        return self

    def renew(self) -> None:
        self._store.ledger.workers.renew(self._name, {})
        self._store.ledger.subscriptions.keep(self._wants)

    def stop(self) -> None:
        self._store.ledger.workers.gone(self._name)


def subscriptions(store: Store) -> dict[tuple[str, str], str]:
    """Handler and event type to queue."""
    column = event_subscriptions.c
    with store.ledger.engine.connect() as connection:
        rows = connection.execute(select(column.handler, column.event_type, column.queue)).all()
    return {(row.handler, row.event_type): row.queue for row in rows}


def orphans(store: Store) -> dict[str, list[tuple[str, int]]]:
    overview = store.ledger.overviews.unfinished()
    return {one.handler: [(each.event_type, each.waiting) for each in one.orphans] for one in overview.handlers}


@pytest.fixture
def upkeep(store: Store) -> Upkeep:
    return Upkeep(store.ledger.switches, store.ledger.overviews, store.ledger.workers)


def test_old_code_that_starts_late_and_leaves_takes_nothing_from_newer_code(store: Store) -> None:
    # Given new code that takes an event more
    more = replace(NEW, event_type="Seen")
    new = Version(store, "new", NEW, more).start()
    # When a worker with old code restarts after it, and leaves
    old = Version(store, "old", OLD).start()
    old.renew()
    old.stop()
    new.renew()
    # Then the new handler still gets its events
    assert subscriptions(store).keys() == {("hear", "Said"), ("hear", "Seen")}
    store.publish(event_type="Seen")
    assert [one.handler for one in store.take_due("new", 10)] == []
    store.ledger.outbox.fan_out(10)
    assert [one.event_type for one in store.take_due("new", 10)] == ["Seen"]


@pytest.mark.parametrize("by", ["look", "fan-out"])
def test_without_a_broker_a_worker_takes_only_what_it_can_run_of_a_handler(store: Store, by: str) -> None:
    # Given a handler that takes two events, of which older code knows one, and deliveries of both
    store.subscribe(event_type="Said")
    store.subscribe(event_type="Seen")
    old = [("hear", "Said")]
    ids = {kind: store.publish(event_type=kind) for kind in ("Said", "Seen")}

    def taken(handlers: list[tuple[str, str]]) -> list[UUID]:
        return [one.event_id for one in store.take_due("q", 10, HOUR, handlers)]

    # When a worker of older code looks, however often
    if by == "fan-out" and not store.sqlite:
        found = store.ledger.outbox.fan_out(10, Express(8, 100, 64, HOUR, old, None))
        assert [one.event_id for group in found.sent for one in group] == [ids["Said"]]
    else:
        store.ledger.outbox.fan_out(10)
        assert taken(old) == [ids["Said"]]
    assert taken(old) == []
    # Then the other waits for one of newer code; what the oldest code has fanned out names no event, and is for both
    assert taken([*old, ("hear", "Seen")]) == [ids["Seen"]]
    store.foreign("UPDATE event_deliveries SET event_type = NULL, state = 'pending', due_at = created_at")
    assert set(taken(old)) == set(ids.values())


def test_the_newest_definition_counts_without_flapping_while_several_versions_live(store: Store) -> None:
    # Given old code, then new code
    old, new = Version(store, "old", OLD).start(), Version(store, "new", NEW).start()
    # When each says again what it wants, and another old worker starts
    late = Version(store, "late", OLD).start()
    for worker in (old, new, late, old):
        worker.renew()
        # Then the newer definition stands
        assert subscriptions(store) == {("hear", "Said"): "new"}
    # And when only old code is left, because the deployment was taken back, its definition does
    new.stop()
    old.renew()
    assert subscriptions(store) == {("hear", "Said"): "old"}
    # And when the new code is deployed again it is the newer one again, whoever says what last
    again = Version(store, "again", NEW).start()
    for worker in (again, old, late):
        worker.renew()
        assert subscriptions(store) == {("hear", "Said"): "new"}


def test_what_any_version_masks_stays_masked(store: Store) -> None:
    Version(store, "old", OLD).start()
    Version(store, "new", NEW).start().renew()
    Version(store, "late", OLD).start().stop()
    assert store.ledger.subscriptions.masked() == {"Said": {"iban", "card"}}


def test_a_subscription_that_somebody_deleted_is_back_with_the_next_sign_of_life(store: Store) -> None:
    worker = Version(store, "w", NEW).start()
    store.foreign("DELETE FROM event_subscriptions")
    worker.renew()
    assert subscriptions(store) == {("hear", "Said"): "new"}


def test_a_handler_whose_queue_changes_is_followed_by_all_that_waits_for_it(store: Store, upkeep: Upkeep) -> None:
    # Given a delivery in every state that waits, or will
    Version(store, "old", OLD).start()
    ids = [store.publish() for _ in range(5)]
    store.ledger.outbox.fan_out(10)
    sent, runs, dead = store.take_due("old", 3)
    claim = store.claim(runs)
    store.ledger.inbox.bury(store.claim(dead), OOPS)
    # When new code gives it another queue, and a fan-out that read the old one commits after that
    Version(store, "new", NEW).start()
    late = store.publish()
    store.ledger.outbox.fan_out(10)
    store.foreign("UPDATE event_deliveries SET queue = 'old' WHERE event_id = ?", str(late))
    # Then all of it is found in the new one: what waits, what was sent, what is tried again, what is replayed
    while store.ledger.recovery.bring_home(2):
        pass
    store.ledger.inbox.hand_back([claim], NOW)
    store.ledger.dead.replay(DeadLetterFilter(), "ann")
    assert store.take_due("old", 10) == []
    assert {one.event_id for one in store.take_due("new", 10)} == {*ids, late}
    assert sent.event_id in ids


def test_what_no_living_code_wants_is_named_and_waits(store: Store) -> None:
    # Given old code with a handler that new code lacks, and new code
    gone = Subscription(event_type="Said", handler="gone", queue="q", max_attempts=3)
    old = Version(store, "old", gone, OLD).start()
    new = Version(store, "new", OLD).start()
    assert orphans(store) == {"gone": [], "hear": []}
    # When the old worker leaves
    old.stop()
    new.renew()
    store.publish()
    store.ledger.outbox.fan_out(10)
    # Then it is named, with what waits, and nothing of it is sent
    assert orphans(store) == {"gone": [("Said", 1)], "hear": []}
    assert store.take_due("q", 10) == []
    # And when a worker has it again, what waited is sent
    Version(store, "back", gone).start()
    store.ledger.recovery.bring_home(10)
    assert [one.handler for one in store.take_due("q", 10)] == ["gone"]


def test_one_event_of_a_handler_is_retired_and_the_others_stay(store: Store, upkeep: Upkeep) -> None:
    # Given a handler of two events, of which new code takes one
    seen = replace(OLD, event_type="Seen")
    old = Version(store, "old", OLD, seen).start()
    Version(store, "new", OLD).start()
    kept, ended = store.publish(), store.publish(event_type="Seen")
    store.ledger.outbox.fan_out(10)
    # While old code lives it is refused, for what it takes and for the whole
    for event_type in ("Seen", None):
        with pytest.raises(StillRunning, match="old"):
            upkeep.retire("hear", "ann", event_type=event_type)
    with pytest.raises(NoSuchHandler, match="Said, Seen"):
        upkeep.retire("hear", "ann", event_type="Sene")
    # When old code is gone it is done
    old.stop()
    assert upkeep.would_drop("hear", "Seen") == 1
    assert upkeep.retire("hear", "ann", event_type="Seen") == 1
    assert (store.row(kept).state, store.row(ended).state) == ("pending", "discarded")
    assert subscriptions(store).keys() == {("hear", "Said")}
    # And code that takes it again has it again
    old.start()
    again = store.publish(event_type="Seen")
    store.ledger.outbox.fan_out(10)
    assert store.row(again).state == "pending"


def retire_quietly(upkeep: Upkeep) -> Callable[[], bool]:
    def retire() -> bool:
        try:
            upkeep.retire("hear", "ann")
        except (StillRunning, NoSuchHandler):
            return False
        return True

    return retire


def test_a_worker_that_starts_while_its_handler_is_retired_misses_nothing(store: Store, upkeep: Upkeep) -> None:
    for _ in range(15):
        # Given a handler that nobody has
        old = Version(store, "old", OLD).start()
        old.stop()
        # When it is retired just as a worker with it starts
        back = Version(store, "back", OLD)
        together(retire_quietly(upkeep), back.start)
        # Then every event that is published once the worker runs is delivered
        event_id = store.publish()
        store.ledger.outbox.fan_out(10)
        assert store.row(event_id).state == "pending"
        assert not retire_quietly(upkeep)()
        back.stop()


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_a_fan_out_that_is_under_way_leaves_nothing_behind_for_a_retired_handler(store: Store, upkeep: Upkeep) -> None:
    # Given a fan-out that has read the subscriptions, and has not committed
    Version(store, "old", OLD).start().stop()
    event_id = store.publish()
    with store.ledger.engine.connect() as connection:
        connection.execute(text(
            "INSERT INTO event_deliveries (event_id, handler, queue, state, due_at, created_at, event_type) "
            "SELECT :id, handler, queue, 'pending', now(), now(), event_type FROM event_subscriptions"
        ), {"id": event_id})  # fmt: skip

        # When the handler is retired meanwhile
        def commit_late() -> None:
            connection.execute(text("SELECT pg_sleep(0.3)"))
            connection.commit()

        together(commit_late, lambda: upkeep.retire("hear", "ann"))
    # Then its delivery is discarded, too
    assert store.row(event_id).state == "discarded"


def test_code_that_comes_back_in_the_midst_of_a_retirement_keeps_what_waits(store: Store) -> None:
    # Given a handler that was just unsubscribed, with a delivery that is to be discarded
    Version(store, "old", OLD).start().stop()
    event_id = store.publish()
    store.ledger.outbox.fan_out(10)
    store.ledger.switches.unsubscribe("hear", "ann")
    # When code that has it starts before it is
    Version(store, "back", OLD).start()
    # Then it stays
    assert store.ledger.switches.drop("hear", "ann", 10) == 0
    assert store.row(event_id).state == "pending"
