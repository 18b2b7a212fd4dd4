"""What the ledger knows of traces, on every store."""

from dataclasses import replace
from uuid import uuid4

from support.store import NOW, OOPS, Store, envelope, make_due

FIRST = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_context_of_events_is_found_and_what_is_none_is_left_out(store: Store) -> None:
    # Given events with a context, with half of one, without one, and with nonsense in its place
    whole, half, none, nonsense = (uuid4() for _ in range(4))
    both = f'{{"traceparent": "{FIRST}", "tracestate": "vendor=1"}}'
    told = {whole: both, half: f'{{"traceparent": "{FIRST}"}}', none: "{}", nonsense: '{"tracestate": 7}'}
    with store.ledger.events.begin() as connection:
        rows = [replace(envelope(one), metadata=metadata) for one, metadata in told.items()]
        store.ledger.events.append(connection, rows)
    # When all are looked up, and one that there is not
    found = store.ledger.traces.of_events([*told, uuid4()])
    # Then only those with a context have one
    assert found == {whole: {"traceparent": FIRST, "tracestate": "vendor=1"}, half: {"traceparent": FIRST}}


def test_the_span_of_a_failed_attempt_is_found_by_the_next(store: Store) -> None:
    # Given a delivery whose first attempt failed in a span
    claim = store.running(max_attempts=3)
    key = (claim.envelope.id, claim.handler)
    assert store.ledger.traces.before(*key, 2) is None
    assert store.ledger.inbox.retry(claim, replace(OOPS, traceparent=FIRST), NOW)
    # Then the next attempt finds it, and an attempt is not its own predecessor
    assert store.ledger.traces.before(*key, 2) == FIRST
    assert store.ledger.traces.before(*key, 1) is None
    # And when the second one fails without a span, there is nothing to link the third to
    make_due(store)
    assert store.ledger.inbox.bury(store.claim(store.take()[0]), OOPS)
    assert store.ledger.traces.before(*key, 3) is None
