"""publish() in what a handler starts: in tasks and threads that have a copy of its context."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select

from events import PublishError, Retry, get_engine, handles, publish
from events.ledger.outcome import Outcome
from events.store.tables import event_store
from events.testing import InlinePipeline
from support.grouped import HANDLER_OF, Item, Noticed, in_use, noticed, run_together, three
from support.waiting import eventually

SUCCEEDED = Outcome.SUCCEEDED
later: list[Callable[[], Any]] = []  # what goes on after a handler
errors: list[BaseException] = []
go_on = threading.Event()


class Starting(Item):
    pass


class StartingAsync(Item):
    pass


@handles(Starting, retry=Retry(max_attempts=1))
def starts(event: Starting) -> None:
    context = contextvars.copy_context()
    if event.do == "later":
        later.append(lambda: context.run(publish, Noticed(of=event.place)))
    elif event.do == "then":
        try:
            later[0]()
        except PublishError as error:
            errors.append(error)
    elif event.do == "thread":
        thread = threading.Thread(target=context.run, args=(publish, Noticed(of=event.place)))
        thread.start()
        thread.join()
    if event.place == "fail":
        raise ValueError


@handles(StartingAsync, retry=Retry(max_attempts=1))
async def starts_async(event: StartingAsync) -> None:
    async def publish_later() -> None:
        await asyncio.to_thread(go_on.wait)
        try:
            publish(Noticed(of=event.place))
        except BaseException as error:
            errors.append(error)

    if event.do == "task":
        later.append(asyncio.get_running_loop().create_task(publish_later()).done)
    elif event.do == "to_thread":
        await asyncio.to_thread(publish, Noticed(of=event.place))


HANDLER_OF |= {Starting: "starts", StartingAsync: "starts_async"}


@pytest.fixture
def pipeline(tmp_path: Any) -> Iterator[InlinePipeline]:
    later.clear()
    errors.clear()
    go_on.clear()
    with in_use(f"sqlite:///{tmp_path / 'events.db'}") as pipeline:
        yield pipeline


def test_a_copied_context_that_outlives_its_delivery_is_refused(pipeline: InlinePipeline) -> None:
    # Given a delivery that leaves work behind, and has ended
    run_together(pipeline, Starting(place="a", do="later"))
    # When that work publishes; Then it is told why it can't, and nothing is stored
    with pytest.raises(PublishError, match="delivery of handler 'starts' started"):
        later[0]()
    assert noticed() == 0
    # And in a session of its own, or in a clean context, it may
    with get_engine().begin() as connection:
        publish(Noticed(of="a"), session=connection)
    contextvars.Context().run(publish, Noticed(of="a"))
    assert noticed() == 2


def test_it_doesnt_join_the_neighbour_in_its_group_either(pipeline: InlinePipeline) -> None:
    # Given two in a group, of which the second runs what the first left behind
    assert run_together(pipeline, Starting(place="a", do="later"), Starting(place="b", do="then")) == [SUCCEEDED] * 2
    # Then that was refused while the second ran, too
    assert [type(error) for error in errors] == [PublishError]
    assert noticed() == 0


@pytest.mark.parametrize("kind", [Starting, StartingAsync])
def test_a_thread_that_is_waited_for_joins(pipeline: InlinePipeline, kind: type[Item]) -> None:
    # Given handlers that publish in a thread with their context, and wait for it
    do = "thread" if kind is Starting else "to_thread"
    run_together(pipeline, *[kind(place=place, do=do) for place in "abc"])
    assert noticed() == 3
    # Then it was in their transactions: caused by their events
    with get_engine().connect() as connection:
        query = select(event_store.c.metadata).where(event_store.c.event_type == "Noticed")
        assert all("causation_id" in str(metadata) for metadata in connection.scalars(query))
    # And of one that fails nothing stays
    if kind is Starting:
        run_together(pipeline, Starting(place="fail", do=do))
        assert noticed() == 3


def test_a_task_that_goes_on_is_refused(pipeline: InlinePipeline) -> None:
    # Given async handlers that start a task which goes on
    run_together(pipeline, *three(StartingAsync, "task"))
    go_on.set()
    # Then it can't publish into what runs then
    eventually(lambda: len(errors) == 1, "the task ended")
    assert isinstance(errors[0], PublishError)
    assert noticed() == 0
