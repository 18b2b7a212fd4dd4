"""One delivery in this process: what a handler may do with its transaction, and what counts as a failure."""

import asyncio
import json
from datetime import timedelta

import pytest
from sqlalchemy import Column, Connection, MetaData, String, Table, insert, select
from sqlalchemy.orm import Session

from events import Delivery, DomainEvent, Retry, RetryAfter, get_engine, handles, publish
from events.ledger.outcome import Outcome, failure_of
from events.testing import InlinePipeline

tables = MetaData()
notes = Table("notes", tables, Column("text", String))
ONCE = Retry(max_attempts=1)


class Asked(DomainEvent):
    do: str


@handles(Asked, retry=Retry(max_attempts=2, never=(KeyError,)))
def does_as_asked(event: Asked, session: Session, connection: Connection, delivery: Delivery) -> object:
    session.execute(insert(notes).values(text=f"{event.do} {delivery.attempt}"))
    match event.do:
        case "commit the connection":
            connection.commit()
        case "roll back the connection":
            connection.rollback()
        case "commit the session":
            session.commit()
        case "roll back the session":
            session.rollback()
        case "forget to await":
            async_work()
        case "return a coroutine":
            return async_work(session)
        case "exit":
            raise SystemExit(3)
        case "run out of memory":
            raise MemoryError
        case "interrupt":
            raise KeyboardInterrupt
        case "ask for time" if delivery.attempt == 1:
            raise RetryAfter(timedelta(hours=1), "the other side is closed")
        case "raise KeyError":
            raise KeyError("never retried")
    return None


async def async_work(session: Session | None = None) -> None:
    await asyncio.sleep(0)
    if session is not None:
        session.execute(insert(notes).values(text="awaited"))


class AskedAsync(DomainEvent):
    do: str


loops: list[asyncio.AbstractEventLoop] = []


@handles(AskedAsync, retry=ONCE)
async def does_it_async(event: AskedAsync, connection: Connection) -> None:
    await asyncio.sleep(0)
    loops.append(asyncio.get_running_loop())
    if event.do == "forget to await":
        async_work()
    if event.do == "exit":
        raise SystemExit(3)
    connection.execute(insert(notes).values(text="async"))
    await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _tables(events_pipeline: InlinePipeline) -> None:
    tables.create_all(get_engine())
    return


def written() -> list[str]:
    with get_engine().connect() as connection:
        return sorted(connection.scalars(select(notes.c.text)))


def outcomes(pipeline: InlinePipeline, event: DomainEvent) -> list[Outcome]:
    publish(event)
    return [result.outcome for _, result in pipeline.run()]


def test_success_commits_the_effects(events_pipeline: InlinePipeline) -> None:
    assert outcomes(events_pipeline, Asked(do="nothing special")) == [Outcome.SUCCEEDED]
    assert written() == ["nothing special 1"]


@pytest.mark.parametrize("end", ["commit the connection", "roll back the connection"])
def test_a_handler_that_ends_the_deliverys_transaction_is_a_dead_letter(
    events_pipeline: InlinePipeline, end: str
) -> None:
    assert outcomes(events_pipeline, Asked(do=end)) == [Outcome.DEAD]
    assert written() == []
    (letter,) = events_pipeline.dead_letters.find()
    assert "TransactionMisused" in letter.error_type


def test_a_session_may_commit_and_roll_back_its_own_part(events_pipeline: InlinePipeline) -> None:
    assert outcomes(events_pipeline, Asked(do="commit the session")) == [Outcome.SUCCEEDED]
    assert outcomes(events_pipeline, Asked(do="roll back the session")) == [Outcome.SUCCEEDED]
    assert written() == ["commit the session 1"]


def test_a_forgotten_await_is_never_a_success(events_pipeline: InlinePipeline) -> None:
    assert outcomes(events_pipeline, Asked(do="forget to await")) == [Outcome.DEAD]
    assert outcomes(events_pipeline, AskedAsync(do="forget to await")) == [Outcome.DEAD]
    assert written() == []
    assert all("async_work()" in letter.error for letter in events_pipeline.dead_letters.find())


def test_a_coroutine_that_is_returned_is_run(events_pipeline: InlinePipeline) -> None:
    assert outcomes(events_pipeline, Asked(do="return a coroutine")) == [Outcome.SUCCEEDED]
    assert written() == ["awaited", "return a coroutine 1"]


def test_async_handlers_share_one_loop(events_pipeline: InlinePipeline) -> None:
    loops.clear()
    assert outcomes(events_pipeline, AskedAsync(do="work")) == [Outcome.SUCCEEDED]
    assert outcomes(events_pipeline, AskedAsync(do="exit")) == [Outcome.DEAD]
    assert outcomes(events_pipeline, AskedAsync(do="work")) == [Outcome.SUCCEEDED]
    assert len(set(loops)) == 1
    assert written() == ["async", "async"]


@pytest.mark.parametrize("raised", ["exit", "run out of memory", "interrupt"])
def test_what_would_end_a_process_is_an_ordinary_failure(events_pipeline: InlinePipeline, raised: str) -> None:
    assert outcomes(events_pipeline, Asked(do=raised)) == [Outcome.RETRY, Outcome.DEAD]
    assert written() == []


def test_retry_after_is_obeyed(events_pipeline: InlinePipeline) -> None:
    publish(Asked(do="ask for time"))
    (_, first), (_, second) = events_pipeline.run()
    assert (first.outcome, first.due_in) == (Outcome.RETRY, timedelta(hours=1))
    assert second.outcome is Outcome.SUCCEEDED


def test_a_never_retried_exception_is_a_dead_letter_at_once(events_pipeline: InlinePipeline) -> None:
    assert outcomes(events_pipeline, Asked(do="raise KeyError")) == [Outcome.DEAD]


def test_stored_data_that_does_not_fit_is_a_dead_letter_that_names_event_field_and_value(
    events_pipeline: InlinePipeline,
) -> None:
    with get_engine().begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO event_store (id, aggregate_id, event_type, event_data, timestamp) VALUES "
            "('0191f1a0-0000-7000-8000-000000000001', 'x', 'Asked', '{\"do\": [\"wrong\"]}', '2026-01-01')"
        )
    assert [result.outcome for _, result in events_pipeline.run()] == [Outcome.DEAD]
    (letter,) = events_pipeline.dead_letters.find()
    assert "Asked" in letter.error
    assert "'do'" in letter.error
    assert "wrong" in letter.error


def test_a_second_wakeup_for_a_finished_delivery_changes_nothing(events_pipeline: InlinePipeline) -> None:
    publish(Asked(do="something"))
    ((wakeup, _),) = events_pipeline.run()
    again = events_pipeline.deliverer("other").deliver(wakeup.handler, {wakeup.event_id: wakeup.token})
    assert again[wakeup.event_id].outcome is Outcome.NOT_OURS
    assert written() == ["something 1"]


def test_a_failure_of_any_kind_can_be_stored() -> None:
    class Nasty(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    assert failure_of(Nasty()).error == "(its text can't be printed)"
    failure = failure_of(ValueError("nul \x00 lone \udc80 long " + "x" * 1_000_000))
    assert "\x00" not in failure.error + failure.traceback
    failure.error.encode()
    assert len(failure.error) <= 4_000
    assert len(failure.traceback) < 31_000


def test_a_failure_knows_where_in_the_application_it_happened() -> None:
    def sell() -> None:
        json.loads("{")  # the exception comes from a library

    with pytest.raises(ValueError, match="Expecting") as raised:
        sell()
    assert failure_of(raised.value).place == f"{__name__}.{sell.__qualname__}"
    assert failure_of(ValueError("never raised")).place == ""
    # Also if the application is installed beside the libraries: its package is that of its handlers
    assert failure_of(raised.value, "json.handlers").place == "json.decoder.JSONDecoder.raw_decode"
