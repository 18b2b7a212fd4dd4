"""A batch of which a part has failed: each delivery has its own outcome."""

import pytest
from sqlalchemy import Connection, insert

from events import RetryAfter, get_engine, handles, publish
from events.errors import PartlySent, Unsendable
from events.ledger.outcome import Outcome
from events.retry import Retry
from events.testing import InlinePipeline
from support.grouped import HANDLER_OF, Item, counted, items, notes, run_together, tables, written

CAREFUL = Retry(max_attempts=3, never=(Unsendable,))
SUCCEEDED, RETRY, DEAD, BACK = Outcome.SUCCEEDED, Outcome.RETRY, Outcome.DEAD, Outcome.HANDED_BACK


class Sent(Item):
    pass


class Noted(Item):
    pass


def failures(events: list[Item]) -> dict[str, Exception]:
    errors = {"late": RetryAfter(60), "bad": Unsendable("never")}
    return {str(event.event_id): errors[event.do] for event in events if event.do in errors}


@handles(Sent, batch=20, retry=CAREFUL)
def send_them(events: list[Sent]) -> None:
    if failed := failures(events):
        raise PartlySent(failed)


@handles(Noted, batch=20, retry=CAREFUL)
def note_them(events: list[Noted], connection: Connection) -> None:
    for event in events:
        connection.execute(insert(notes).values(text=event.place))
    if failed := failures(events):
        raise PartlySent(failed)


HANDLER_OF |= {Sent: "send_them", Noted: "note_them"}


@pytest.fixture
def pipeline(events_pipeline: InlinePipeline) -> InlinePipeline:
    tables.create_all(get_engine())
    return events_pipeline


def test_what_was_sent_has_succeeded_and_the_rest_is_judged_by_its_own_reason(pipeline: InlinePipeline) -> None:
    # Given a batch of which one is for later, and one can never be sent
    events = [*items(Sent, 3), Sent(place="late", do="late"), Sent(place="bad", do="bad")]
    publish(events)
    # When it is run together
    outcomes = run_together(pipeline, *events)
    # Then each has its own outcome, at once
    assert outcomes == [SUCCEEDED] * 3 + [RETRY, DEAD]
    assert [counted(event) for event in events[3:]] == [1, 1]


def test_all_of_them_may_have_failed(pipeline: InlinePipeline) -> None:
    events = [Sent(place=str(number), do="bad") for number in range(3)]
    publish(events)
    assert run_together(pipeline, *events) == [DEAD] * 3


def test_a_handler_that_writes_is_undone_as_a_whole(pipeline: InlinePipeline) -> None:
    # Given a batch handler with a transaction, in which nobody knows what is whose
    events = [*items(Noted, 3), Noted(place="bad", do="bad")]
    publish(events)
    # When it says that a part has failed, then all of it is undone, and tried one by one
    assert run_together(pipeline, *events) == [BACK] * 4
    assert written() == []
