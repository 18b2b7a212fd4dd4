"""A handler that nothing ends is told of: in the log, where it stands, and to whoever asks for the process's health."""

import logging
import threading
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


def test_what_runs_over_its_limit_is_named_with_where_it_stands(
    events_pipeline: InlinePipeline, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a handler that runs over its limit, on a pool that has no limits
    event = Hanging()
    publish(event)
    events_pipeline.subscribe()
    events_pipeline.relay().step()
    ((wakeup,),) = events_pipeline.inline.held()
    deliverer = events_pipeline.deliverer("w1")
    run = threading.Thread(target=deliverer.deliver, args=(wakeup.handler, {wakeup.event_id: wakeup.attempt}))
    with patch("events.heartbeat._GRACE", 0.0), caplog.at_level(logging.WARNING, "events.delivery"):
        run.start()
        try:
            # Then it is told of, with its event, and again when it has taken twice as long
            eventually(lambda: caplog.text.count("hangs_for_long has run for") >= 2, "it is told of twice")
            (told,) = deliverer.overdue()
        finally:
            go_on.set()
            run.join()
    assert f"on event {event.event_id}" in told
    assert "its time limit of 1 s" in told
    assert "waits_for_what_never_comes" in caplog.text
    assert deliverer.overdue() == []


def test_what_has_run_for_too_long_is_in_the_ledger(events_pipeline: InlinePipeline) -> None:
    ledger = events_pipeline.ledger
    publish(Hanging())
    events_pipeline.subscribe()
    events_pipeline.relay().step()
    ((wakeup,),) = events_pipeline.inline.held()
    ledger.inbox.claim(wakeup.handler, {wakeup.event_id: wakeup.attempt}, "w1", timedelta(minutes=1))
    ((handler, seconds_, worker, count),) = ledger.overviews.running()
    assert (handler, worker, count) == ("hangs_for_long", "w1", 1)
    assert 0 <= seconds_ < 60
