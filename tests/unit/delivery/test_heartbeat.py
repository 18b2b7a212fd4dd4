"""A handler that nothing ends is told of: in the log, where it stands, and to whoever asks for the process's health."""

import asyncio
import logging
import threading
from contextlib import suppress
from datetime import timedelta
from unittest.mock import patch

import pytest

from events import DomainEvent, Retry, handles, publish, seconds
from events.testing import InlinePipeline
from support.waiting import eventually

go_on = threading.Event()


class Hanging(DomainEvent):
    pass


@handles(Hanging, retry=Retry(max_attempts=1), group=False, time_limit=seconds(1))
def hangs_for_long(event: Hanging) -> None:
    waits_for_what_never_comes()


def waits_for_what_never_comes() -> None:
    go_on.wait(60)


class HangingAsync(Hanging):
    pass


class Blocking(Hanging):
    pass


@handles(HangingAsync, retry=Retry(max_attempts=1), group=False, time_limit=seconds(1))
async def hangs_for_long_and_awaits(event: HangingAsync) -> None:
    await awaits_what_never_comes()


async def awaits_what_never_comes() -> None:
    while not go_on.is_set():
        with suppress(asyncio.CancelledError):  # its time limit
            await asyncio.sleep(0.05)


@handles(Blocking, retry=Retry(max_attempts=1), group=False, time_limit=seconds(1))
async def hangs_for_long_and_blocks(event: Blocking) -> None:
    waits_for_what_never_comes()


@pytest.mark.parametrize(
    ("kind", "stands_at"),
    [(Hanging, "waits_for_what_never_comes"), (HangingAsync, "awaits_what_never_comes"),
     (Blocking, "waits_for_what_never_comes")],
)  # fmt: skip
def test_what_runs_over_its_limit_is_named_with_where_it_stands(
    events_pipeline: InlinePipeline, caplog: pytest.LogCaptureFixture, kind: type[Hanging], stands_at: str
) -> None:
    # Given a handler that runs over its limit, on a pool that has no limits
    event = kind()
    go_on.clear()
    publish(event)
    events_pipeline.subscribe()
    events_pipeline.relay().step()
    ((wakeup,),) = events_pipeline.inline.held()
    deliverer = events_pipeline.deliverer("w1")
    run = threading.Thread(target=deliverer.deliver, args=(wakeup.handler, {wakeup.event_id: wakeup.token}))
    with patch("events.delivery.heartbeat._GRACE", 0.0), caplog.at_level(logging.WARNING, "events.delivery"):
        run.start()
        try:
            # Then it is told of, with its event, and again when it has taken twice as long
            eventually(lambda: caplog.text.count(" has run for ") >= 2, "it is told of twice")
            (told,) = deliverer.overdue()
        finally:
            go_on.set()
            run.join()
    assert f"on event {event.event_id}" in told
    assert "its time limit of 1 s" in told
    assert f"in {stands_at}" in caplog.text
    assert deliverer.overdue() == []


def test_what_has_run_for_too_long_is_in_the_ledger(events_pipeline: InlinePipeline) -> None:
    ledger = events_pipeline.ledger
    publish(Hanging())
    events_pipeline.subscribe()
    events_pipeline.relay().step()
    ((wakeup,),) = events_pipeline.inline.held()
    ledger.inbox.claim(wakeup.handler, {wakeup.event_id: wakeup.token}, "w1", timedelta(minutes=1))
    ((handler, seconds_, worker, count),) = ledger.overviews.running()
    assert (handler, worker, count) == ("hangs_for_long", "w1", 1)
    assert 0 <= seconds_ < 60
