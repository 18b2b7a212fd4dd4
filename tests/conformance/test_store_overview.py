"""The ledger in numbers."""

from collections import Counter
from uuid import uuid4

from events.ledger.records import ONE_BY_ONE, Subscription
from support.store import HOUR, OOPS, PAST, Store


def test_events_and_errors_are_counted_by_event_type_and_handler(store: Store) -> None:
    # Given a type with two handlers, of whose deliveries some succeeded, failed and died; and one that nobody wants
    store.subscribe(max_attempts=5)
    store.subscribe("see", max_attempts=5)
    store.publish(uuid4(), uuid4(), uuid4())
    store.publish(event_type="Sung")
    wakeups = store.take()
    hear = [store.claim(one) for one in wakeups if one.handler == "hear"]
    see = [store.claim(one) for one in wakeups if one.handler == "see"]
    with store.ledger.inbox.begin() as connection:
        store.ledger.inbox.succeed(connection, hear[:2])
    store.ledger.inbox.retry(hear[2], OOPS, HOUR)
    store.ledger.inbox.bury(see[0], OOPS)
    store.ledger.inbox.retry(see[1], OOPS, PAST)
    # When the ledger is counted
    found = store.ledger.overviews.take()
    # Then each has its numbers
    said, sung = found.event_types
    assert (said.event_type, said.count, said.error_count, said.dead, said.waiting, said.lately) == (
        "Said",
        3,
        3,
        1,
        0,
        3,
    )
    assert said.deliveries == {"succeeded": 2, "pending": 2, "dead": 1, "running": 1}
    assert (sung.event_type, sung.count, sung.error_count, sung.waiting) == ("Sung", 1, 0, 1)
    assert found.unhandled_types == ["Sung"]
    assert [(one.handler, one.error_count, one.dead, one.waiting) for one in found.handlers] == [
        ("hear", 1, 0, 1), ("see", 2, 1, 1),
    ]  # fmt: skip
    assert (found.events, found.waiting_events) == (4, 1)
    assert found.published_a_second == 4 / 60
    assert found.oldest >= 3600
    assert found.lag == 0
    # And without what is finished, the rest is the same
    cheap = store.ledger.overviews.take(finished=False)
    assert cheap.event_types[0].deliveries == {"pending": 2, "dead": 1, "running": 1}
    assert [one.waiting for one in cheap.handlers] == [1, 1]


def test_the_mark_of_a_handler_whose_deliveries_travel_one_by_one_is_no_time(store: Store) -> None:
    # Given a handler that has been timed, and one whose groups did not end well
    store.subscribe("hear")
    store.subscribe("see")
    store.ledger.subscriptions.note_pace("hear", 0.25)
    store.ledger.subscriptions.note_pace("see", ONE_BY_ONE)
    # Then relays read the mark, and people are shown no time that nothing takes
    assert {name: pace.seconds for name, pace in store.ledger.subscriptions.paces().items()} == {
        "hear": 0.25, "see": ONE_BY_ONE,
    }  # fmt: skip
    assert [(one.handler, one.seconds, one.one_by_one) for one in store.ledger.overviews.take().handlers] == [
        ("hear", 0.25, False), ("see", None, True),
    ]  # fmt: skip


def test_what_workers_do_is_summed_up(store: Store) -> None:
    # Given two living workers which say what they do a second
    store.subscribe()
    for name, rates in (("w1", {"succeeded": 2.5, "dead": 0.5}), ("w2", {"succeeded": 1.0})):
        store.ledger.workers.announce(store.worker(name, {"hear": {"Said": "1:a"}}))
        assert store.ledger.workers.renew(name, {"hear": rates})
    # Then a handler's rates are those of both
    (handler,) = store.ledger.overviews.take().handlers
    assert handler.workers == 2
    assert handler.rates == Counter(succeeded=3.5, dead=0.5)


def test_masked_fields_are_known_by_those_who_subscribed(store: Store) -> None:
    store.ledger.subscriptions.subscribe(
        [
            Subscription(event_type="Paid", handler="book", queue="q", max_attempts=3, masked=("iban",)),
            Subscription(event_type="Said", handler="book", queue="q", max_attempts=3),
        ]
    )
    assert store.ledger.subscriptions.masked() == {"Paid": {"iban"}, "Said": set()}
