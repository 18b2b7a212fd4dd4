"""The pipeline's promise, the same in every mode: real workers, real databases, real brokers."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import insert

import shop
from events import publish
from events.ledger.dead_letters import DeadLetterFilter
from support.system import BROKERS, MODES, POOLED, System
from support.waiting import eventually


@pytest.fixture(scope="module", params=[*MODES, POOLED])
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system with one worker, shared by the tests that leave it whole."""
    with System(request.param, tmp_path_factory.mktemp(request.param)).in_use() as system:
        system.start_worker()
        yield system


@pytest.fixture(params=[*MODES, POOLED])
def own_system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    """A system of this test's own, with no worker yet."""
    with System(request.param, tmp_path).in_use() as system:
        yield system


def test_a_published_event_runs_every_handler_once(system: System) -> None:
    # Given an event with two handlers, one of which publishes another event
    event = shop.OrderPlaced(order="A-1", amount=7)
    # When it is published on its own
    publish(event)
    # Then each handler has run, once
    assert system.settled(2, event.event_id) == {"succeeded": 2}
    assert system.effects(event.event_id) == {(str(event.event_id), "book_order"): 1}
    assert len(system.starts(event.event_id)) == 1


def test_an_event_published_inside_a_handler_joins_its_transaction_and_names_its_cause(system: System) -> None:
    # Given a handler that publishes
    event = shop.OrderPlaced(order=f"B-{uuid4()}")
    publish(event)

    # Then the event that it caused is handled too, and names it
    def archived() -> list[str]:
        with system.pipeline.ledger.engine.connect() as connection:
            notes = connection.execute(shop.effects.select().where(shop.effects.c.handler == "archive_order")).all()
        return [row.note for row in notes if row.note == f"caused by {event.event_id}"]

    assert eventually(archived, "the caused event was handled") == [f"caused by {event.event_id}"]


def test_a_transaction_that_rolls_back_runs_nothing(system: System) -> None:
    # Given two events, one published in a transaction that fails
    lost, kept = shop.OrderPlaced(order="C-1"), shop.OrderPlaced(order="C-2")
    with system.pipeline.ledger.engine.connect() as connection:
        publish(lost, session=connection)
        connection.rollback()
    # When a later one has been handled
    publish(kept)
    system.settled(2, kept.event_id)
    # Then of the first there is nothing
    assert system.deliveries(lost.event_id) == []
    assert system.starts(lost.event_id) == []


def test_effects_and_event_of_one_transaction_commit_together(system: System) -> None:
    # Given a business row and an event in one transaction
    event = shop.OrderPlaced(order="D-1")
    with system.pipeline.ledger.engine.begin() as connection:
        connection.execute(insert(shop.effects).values(event_id=str(event.event_id), handler="business", note="row"))
        publish(event, session=connection)
    # Then the row is there and the event is handled
    system.settled(2, event.event_id)
    assert system.effects(event.event_id)[str(event.event_id), "business"] == 1


def test_a_failed_attempt_is_retried_and_its_effects_happen_once(system: System) -> None:
    # Given a handler that writes and fails twice, then works
    event = shop.Flaky(works_on_attempt=3)
    publish(event)
    # Then it succeeds on its third attempt, with one effect
    assert system.settled(1, event.event_id) == {"succeeded": 1}
    assert [line.split()[2] for line in system.starts(event.event_id)] == ["1", "2", "3"]
    assert system.effects(event.event_id) == {(str(event.event_id), "works_later"): 1}


def test_exhausted_retries_end_as_a_dead_letter_that_says_why(system: System) -> None:
    # Given a handler that always fails
    event = shop.AlwaysFails(text="broken beyond repair")
    publish(event)
    # Then after its three attempts it is a dead letter, and its effects are rolled back
    assert system.settled(1, event.event_id) == {"dead": 1}
    assert len(system.starts(event.event_id)) == 3
    assert system.effects(event.event_id) == {}
    # And it tells exception, traceback, attempts, worker and times
    (letter,) = system.pipeline.dead_letters.show(event.event_id)
    assert (letter.error_type, letter.attempts) == ("ConnectionError", 3)
    assert letter.error == "broken beyond repair, on attempt 3"
    assert "shop.py" in letter.traceback
    assert letter.worker
    assert "test" in letter.worker
    assert letter.published_at <= letter.first_started_at <= letter.died_at
    # And the broker has a copy of it
    if system.mode in BROKERS:
        copies: list[dict] = []

        def copied() -> bool:
            copies.extend(system.broker_dead_letters())
            return any(copy["event_id"] == str(event.event_id) for copy in copies)

        eventually(copied, "a copy in the broker's dead-letter queue")
        copy = next(copy for copy in copies if copy["event_id"] == str(event.event_id))
        assert (copy["handler"], copy["attempts"]) == ("never_works", 3)
        assert "broken beyond repair" in json.dumps(copy)


def test_an_exception_that_is_never_retried_makes_a_dead_letter_at_once(system: System) -> None:
    # Given a handler that raises what its policy never retries
    event = shop.NeverRetried()
    publish(event)
    # Then it ran once
    assert system.settled(1, event.event_id) == {"dead": 1}
    assert len(system.starts(event.event_id)) == 1


def test_a_replayed_dead_letter_runs_again_once_its_cause_is_gone(system: System) -> None:
    # Given a dead letter
    repaired = system.folder / f"repaired-{uuid4()}"
    event = shop.Fixable(repaired=str(repaired))
    publish(event)
    assert system.settled(1, event.event_id) == {"dead": 1}
    # When its cause is repaired and it is replayed, twice
    repaired.touch()
    its = DeadLetterFilter(event_ids=[event.event_id])
    replayed = [system.pipeline.dead_letters.replay(its, "ann") for _ in range(2)]
    # Then it runs once more, with fresh attempts
    assert replayed == [1, 0]
    eventually(lambda: system.states(event.event_id) == {"succeeded": 1}, "the replayed delivery succeeded")
    assert system.effects(event.event_id) == {(str(event.event_id), "needs_repair"): 1}


def test_a_row_of_a_foreign_program_is_an_event_like_any_other(system: System) -> None:
    # Given a program that knows nothing but the eight documented columns
    event_id = uuid4()
    system.insert_as_foreign_program(event_id, "OrderPlaced", '{"order": "F-1", "amount": 3, "of the future": true}')
    # Then its handlers run
    assert system.settled(2, event_id) == {"succeeded": 2}
    assert system.effects(event_id) == {(str(event_id), "book_order"): 1}


def test_of_three_handlers_one_may_fail_without_harm_to_the_others(system: System) -> None:
    # Given an event with three handlers, one of which fails
    event = shop.Trio()
    publish(event)
    # Then two have succeeded and one is dead
    assert system.settled(3, event.event_id) == {"succeeded": 2, "dead": 1}
    assert {row.handler: row.state for row in system.deliveries(event.event_id)}["trio_fails"] == "dead"
    assert {handler for _, handler in system.effects(event.event_id)} == {"trio_first", "trio_third"}


def test_async_handlers_run_to_their_end(system: System) -> None:
    # Given an async handler
    event = shop.AsyncWork()
    publish(event)
    # Then its effect is there
    assert system.settled(1, event.event_id) == {"succeeded": 1}
    assert system.effects(event.event_id) == {(str(event.event_id), "works_async"): 1}


def test_a_handler_that_kills_its_process_is_dead_after_its_attempts(system: System) -> None:
    # Given a handler that kills its worker process, among others
    event, neighbour = shop.Doomed(), shop.OrderPlaced(order="K-1")
    publish([event, neighbour])
    # Then it is a dead letter after three starts, and its neighbour succeeds
    assert system.settled(1, event.event_id) == {"dead": 1}
    assert len(system.starts(event.event_id)) == 3
    assert system.settled(2, neighbour.event_id) == {"succeeded": 2}


def test_a_handler_over_its_time_limit_has_failed(system: System) -> None:
    # Given a handler that takes longer than its limit of a second
    event = shop.TooSlow()
    publish(event)
    # Then it is stopped, a dead letter since it had one attempt, and its effects are rolled back
    assert system.settled(1, event.event_id) == {"dead": 1}
    (letter,) = system.pipeline.dead_letters.show(event.event_id)
    assert "TimeLimitExceeded" in letter.error_type
    assert system.effects(event.event_id) == {}


def test_a_worker_killed_in_the_middle_of_a_handler_loses_nothing(own_system: System) -> None:
    system = own_system
    # Given a worker that has written, and not committed, in a handler
    worker = system.start_worker()
    release = system.folder / "release"
    event = shop.Held(release=str(release))
    publish(event)
    eventually(lambda: system.starts(event.event_id), "the handler started")
    # When the worker is killed -9, and another starts
    worker.kill()
    assert system.effects(event.event_id) == {}
    system.start_worker()
    # Then the second attempt does the work, once
    assert system.settled(1, event.event_id) == {"succeeded": 1}
    assert system.effects(event.event_id) == {(str(event.event_id), "held_open"): 1}
    assert [line.split()[2] for line in system.starts(event.event_id)] == ["1", "2"]


def test_500_events_published_while_the_broker_is_down_are_handled_when_it_is_back(own_system: System) -> None:
    system = own_system
    system.start_worker()
    # Given a broker that went away
    system.take_broker_away()
    # When 500 events are published, each in its own transaction
    events = [shop.OrderPlaced(order=f"D-{number}") for number in range(500)]
    for event in events:
        publish(event)
    # And the broker comes back
    system.bring_broker_back()
    # Then every one is handled, exactly once: two handlers, and the handler of the event that one of them publishes
    assert system.settled(1500, timeout=110) == {"succeeded": 1500}
    assert system.effects(*(event.event_id for event in events)) == {
        (str(event.event_id), "book_order"): 1 for event in events
    }


def test_two_relays_at_once_send_everything_once(own_system: System) -> None:
    system = own_system
    # Given two relays: two workers' own, or where there is a broker two processes of their own
    if system.mode in BROKERS:
        system.start_worker(relay="off")
        for _ in range(2):
            system.start(["events", "relay"]).wait_for("Ctrl-C stops it")
    else:
        system.start_worker()
        system.start_worker()
    # When many events are published
    events = [shop.OrderPlaced(order=f"R-{number}") for number in range(200)]
    publish(events)
    # Then each handler has run once for each
    assert system.settled(600, timeout=110) == {"succeeded": 600}
    assert all(len(system.starts(event.event_id)) == 1 for event in events)
    assert set(system.effects(*(event.event_id for event in events)).values()) == {1}
