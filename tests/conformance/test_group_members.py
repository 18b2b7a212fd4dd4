"""Several deliveries of one handler in one transaction: what becomes of each, on SQLite and PostgreSQL."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from events import get_engine, publish
from events.delivery.heartbeat import Heartbeat
from events.ledger.outcome import Outcome
from events.ledger.records import Claim
from events.store.leases import is_running
from events.store.tables import event_deliveries, event_leases
from events.testing import InlinePipeline
from support.grouped import (
    ForBoth,
    ForConnection,
    ForNeither,
    ForSession,
    Item,
    counted,
    deliver,
    do_now,
    effects_of,
    in_use,
    noticed,
    row,
    run_the_rest,
    run_together,
    sent_together,
    three,
    written,
)
from support.store import PAST

SUCCEEDED, RETRY, DEAD, BACK = Outcome.SUCCEEDED, Outcome.RETRY, Outcome.DEAD, Outcome.HANDED_BACK
WITH_TRANSACTION = [ForConnection, ForSession, ForBoth]


@pytest.fixture
def pipeline(url: str) -> Iterator[InlinePipeline]:
    with in_use(url) as pipeline:
        yield pipeline


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("kind", [*WITH_TRANSACTION, ForNeither])
def test_one_that_fails_is_undone_and_fails_by_itself(pipeline: InlinePipeline, kind: type[Item], place: int) -> None:
    # Given three events in one group, of which one fails
    events = three(kind, "fail", place)
    bad, good = events[place], [event for event in events if not event.do]
    # When they are run
    outcomes = run_together(pipeline, *events)
    # Then the effects and publications of the others are committed, and nothing of the bad one
    assert outcomes == [BACK if event is bad else SUCCEEDED for event in events]
    assert written() == effects_of(kind, "".join(event.place for event in good))
    assert noticed() == 2
    # And what failed in company is to be tried alone, and is not counted
    assert (counted(bad), row(bad).state, row(bad).alone) == (0, "pending", True)
    assert [counted(event) for event in good] == [1, 1]
    # And after its last attempt it is a dead letter with its own failure, and with no effect
    assert run_the_rest(pipeline) == {bad.event_id: [RETRY, DEAD]}
    (letter,) = pipeline.dead_letters.find()
    assert (letter.event_id, letter.attempts) == (bad.event_id, 3)
    assert (row(bad).error_type, row(bad).error, counted(bad)) == ("ValueError", f"nothing for {bad.place}", 2)
    assert "_go_on" in letter.traceback
    assert written() == effects_of(kind, "".join(event.place for event in good))


@pytest.mark.parametrize("do", ["fail in SQL", "fail in an open savepoint"])
@pytest.mark.parametrize("kind", WITH_TRANSACTION)
def test_one_whose_statement_fails_leaves_the_transaction_usable(
    pipeline: InlinePipeline, kind: type[Item], do: str
) -> None:
    assert run_together(pipeline, *three(kind, do)) == [SUCCEEDED, BACK, SUCCEEDED]
    assert written() == effects_of(kind, "ac")
    assert noticed() == 2


@pytest.mark.parametrize("kind", [ForSession, ForBoth])
def test_what_a_session_committed_is_undone_when_its_handler_fails(pipeline: InlinePipeline, kind: type[Item]) -> None:
    # Given a handler that commits its session, which only ends the session's own savepoint, and then fails
    outcomes = run_together(pipeline, *three(kind, "commit the session and fail"))
    # Then all of it is undone
    assert outcomes == [SUCCEEDED, BACK, SUCCEEDED]
    assert written() == effects_of(kind, "ac")
    assert noticed() == 2


def test_all_of_them_may_fail(pipeline: InlinePipeline) -> None:
    events = [ForConnection(place=place, do="fail") for place in "abc"]
    assert run_together(pipeline, *events) == [BACK] * 3
    assert run_the_rest(pipeline) == {event.event_id: [RETRY, DEAD] for event in events}
    assert written() == []
    assert len(pipeline.dead_letters.find()) == 3


def test_one_whose_lease_was_lost_has_its_effect_once(
    pipeline: InlinePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given three claimed events, of which another worker takes over one before they are run
    events = three(ForConnection, "")
    publish(events)
    group = sent_together(pipeline, "by_connection")
    inbox, lost = pipeline.ledger.inbox, events[1]
    claim: Callable[..., list[Claim]] = inbox.claim

    def claim_and_lose(handler: str, attempts: Mapping[UUID, int], *rest: Any, **options: Any) -> list[Claim]:
        monkeypatch.undo()
        claims = claim(handler, attempts, *rest, **options)
        inbox.extend([one for one in claims if one.envelope.id == lost.event_id], PAST)
        assert pipeline.ledger.recovery.expire_leases(10) == 1
        results = deliver(pipeline, sent_together(pipeline, "by_connection"))
        assert results[lost.event_id].outcome is SUCCEEDED
        return claims

    monkeypatch.setattr(inbox, "claim", claim_and_lose)
    # When the first worker runs all three
    results = deliver(pipeline, group)
    # Then nothing of that is committed, and the others come again
    assert SUCCEEDED not in {result.outcome for result in results.values()}
    assert (written(), row(lost).state) == (["b"], "succeeded")
    assert run_the_rest(pipeline) == {events[0].event_id: [SUCCEEDED], events[2].event_id: [SUCCEEDED]}
    assert (written(), noticed()) == (["a", "b", "c"], 3)


@pytest.mark.parametrize("place", ["0", "b", "z"])
def test_one_that_cant_be_read_is_a_dead_letter_and_the_others_are_done(pipeline: InlinePipeline, place: str) -> None:
    # Given a group with an event at any place in it whose data doesn't fit
    good, event_id = [ForConnection(place="a"), ForConnection(place="c")], uuid4()
    publish(good)
    with get_engine().begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO event_store (id, aggregate_id, event_type, event_data, timestamp) VALUES "
            f"('{event_id}', '{place}', 'ForConnection', '{{\"place\": [1]}}', CURRENT_TIMESTAMP)"
        )
    # When it is run
    results = deliver(pipeline, sent_together(pipeline, "by_connection"))
    # Then only that one is a dead letter, which names the field
    assert {key: result.outcome for key, result in results.items()} == {
        event_id: DEAD, good[0].event_id: SUCCEEDED, good[1].event_id: SUCCEEDED,
    }  # fmt: skip
    (letter,) = pipeline.dead_letters.find()
    assert (letter.event_id, "'place'" in letter.error) == (event_id, True)
    assert written() == ["a", "c"]


def test_a_second_message_for_a_group_changes_nothing(pipeline: InlinePipeline) -> None:
    publish(three(ForConnection, ""))
    group = sent_together(pipeline, "by_connection")
    deliver(pipeline, group)
    assert {result.outcome for result in deliver(pipeline, group).values()} == {Outcome.NOT_OURS}
    assert written() == ["a", "b", "c"]


def test_of_a_group_that_is_half_done_the_other_half_is_run(pipeline: InlinePipeline) -> None:
    # Given a message of three, of which one has been handed back and done since
    events = three(ForConnection, "")
    publish(events)
    group = sent_together(pipeline, "by_connection")
    pipeline.ledger.outbox.hand_back([one for one in group if one.event_id == events[1].event_id], timedelta(0))
    deliver(pipeline, sent_together(pipeline, "by_connection"))
    # When the message comes
    results = deliver(pipeline, group)
    # Then each is done once
    assert [results[event.event_id].outcome for event in events] == [SUCCEEDED, Outcome.NOT_OURS, SUCCEEDED]
    assert written() == ["a", "b", "c"]


def test_the_leases_of_all_last_while_one_runs(pipeline: InlinePipeline) -> None:
    # Given a group whose lease is long; When its last one runs
    seen: list[Any] = []
    leases: list[Any] = []

    def look() -> None:
        with get_engine().connect() as connection:
            seen.extend(connection.execute(select(event_deliveries).where(is_running())).all())
            leases.extend(connection.execute(select(event_leases.c.worker, event_leases.c.until, func.now())).all())

    do_now["look"] = look
    run_together(pipeline, *three(ForConnection, "look", 2))
    # Then all three are running, in a group, by this worker, for the lease's time
    assert len(seen) == 3
    ends = [(worker, until - now) for worker, until, now in leases]
    if not leases:  # each by its own row
        assert [(one.state, one.grouped) for one in seen] == [("running", True)] * 3
        ends = [(one.worker, one.due_at - one.started_at) for one in seen]
    assert {worker for worker, _ in ends} == {"w1"}
    assert {lasts >= pipeline.settings.lease - timedelta(seconds=1) for _, lasts in ends} == {True}


def test_a_group_that_is_late_before_its_first_has_begun_comes_again(
    pipeline: InlinePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a database or a machine that stands still while a group begins
    @contextmanager
    def late_at_once(_: Heartbeat, claims: Sequence[Claim], on_late: Callable[[], None]) -> Iterator[None]:
        on_late()
        yield

    events = three(ForConnection, "", 0)
    with monkeypatch.context() as patch:
        patch.setattr(Heartbeat, "keep", late_at_once)
        # When it is run, then all of it goes home
        assert run_together(pipeline, *events) == [BACK] * 3
    assert written() == []
    # And each succeeds, once
    assert run_the_rest(pipeline) == {event.event_id: [SUCCEEDED] for event in events}
    assert written() == ["a", "b", "c"]
