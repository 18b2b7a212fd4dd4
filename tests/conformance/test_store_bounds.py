"""What is kept and copied is bounded: by bytes, and by number."""

from sqlalchemy import func, select, update

from events.ledger.dead_letters import DeadLetterFilter
from events.ledger.outcome import failure_of
from events.ledger.records import Failure
from events.store.tables import event_attempts, event_deliveries, event_store
from support.store import NOW, OOPS, Store

BIG = '{"n": "' + "x" * 250_000 + '"}'


def test_dead_letters_are_copied_a_megabyte_at_a_time(store: Store) -> None:
    # Given dead letters of a quarter of a megabyte each, and small ones
    big, small = store.dead(12), store.dead(30)
    with store.ledger.engine.begin() as connection:
        connection.execute(update(event_store).where(event_store.c.id.in_(big)).values(event_data=BIG))
    # When all are copied
    taken = []
    while letters := store.ledger.recovery.take_uncopied(500):
        # Then no more are in memory at a time than a megabyte or so
        assert sum(len(one.event_data) + len(one.traceback) for one in letters) <= 1_000_000
        store.ledger.recovery.mark_copied(letters)
        taken.append([one.event_id for one in letters])
    # And none was left out, nor taken twice
    flat = [one for batch in taken for one in batch]
    assert sorted(flat) == sorted([*big, *small])
    assert len(taken) >= 4
    assert max(map(len, taken)) >= 30


def test_one_that_is_larger_than_that_goes_alone(store: Store) -> None:
    (event_id,) = store.dead(1)
    with store.ledger.engine.begin() as connection:
        connection.execute(update(event_store).values(event_data='{"n": "' + "x" * 3_000_000 + '"}'))
    assert [one.event_id for one in store.ledger.recovery.take_uncopied(500)] == [event_id]


def test_of_very_many_attempts_the_first_and_the_last_are_remembered(store: Store) -> None:
    # Given a delivery that fails two hundred times, as of a bridge in an outage
    store.subscribe(max_attempts=300)
    event_id = store.publish()
    for number in range(1, 201):
        claim = store.claim(store.take()[0])
        failure = Failure("ConnectionError", f"failure {number}", "Traceback ...\n" + "x" * 1_800)
        assert store.ledger.inbox.retry(claim, failure, NOW)
    # Then its history has the first few and the last few of them, whole
    with store.ledger.engine.connect() as connection:
        kept = connection.execute(select(event_attempts).order_by(event_attempts.c.attempt)).all()
        size = connection.scalar(select(func.sum(func.length(event_attempts.c.traceback)))) or 0
    numbers = [one.attempt for one in kept]
    assert numbers[:5] == [1, 2, 3, 4, 5]
    assert numbers[-10:] == list(range(191, 201))
    assert len(numbers) <= 20
    assert size < 40_000
    assert kept[-1].error == "failure 200"
    # And the delivery itself goes on
    row = store.row(event_id)
    assert (row.state, row.attempts) == ("pending", 200)


def test_attempts_that_the_database_cut_short_are_still_counted_after_that(store: Store) -> None:
    store.subscribe(max_attempts=300)
    event_id = store.publish()
    for number in range(60):
        with store.ledger.engine.begin() as connection:
            connection.execute(update(event_deliveries).values(due_at=event_deliveries.c.created_at))
        claim = store.claim(store.take()[0])
        if number % 2 == 0:
            assert store.ledger.inbox.interrupt(claim, OSError("gone"), 30)
        else:
            assert store.ledger.inbox.retry(claim, OOPS, NOW)
    with store.ledger.engine.begin() as connection:
        connection.execute(update(event_deliveries).values(due_at=event_deliveries.c.created_at))
    claim = store.claim(store.take()[0])
    assert not store.ledger.inbox.interrupt(claim, OSError("gone"), 30)
    assert claim.attempt == 31
    # What was dead, and is replayed, begins anew
    assert store.ledger.inbox.bury(claim, OOPS)
    store.ledger.dead.replay(DeadLetterFilter(event_ids=(event_id,)), "op")
    again = store.claim(store.take()[0])
    assert store.ledger.inbox.interrupt(again, OSError("gone"), 30)


def test_an_error_of_ten_megabytes_is_cut(store: Store) -> None:
    failure = failure_of(ValueError("x" * 10_000_000))
    assert len(failure.error) <= 4_000
    assert len(failure.traceback) <= 31_000
    claim = store.running()
    assert store.ledger.inbox.bury(claim, failure)
