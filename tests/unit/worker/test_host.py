"""What a worker's parts share has one place, on Celery's app."""

import pytest
from celery import Celery

from events.monitoring.worker_counts import WorkerCounts
from events.testing import InlinePipeline
from events.worker.host import Host, has_host, host_of, lend_host, new_host


def host(pipeline: InlinePipeline) -> Host:
    return Host(pipeline=pipeline, worker_counts=WorkerCounts([], []))


def test_each_worker_of_an_app_has_a_host_of_its_own(events_pipeline: InlinePipeline) -> None:
    # Given an app that has hosts
    app, other = Celery("shop"), Celery("other")
    lend_host(app, lambda: host(events_pipeline))
    # When two workers of it begin, one after the other
    first, second = new_host(app), new_host(app)
    # Then each has its own, which all parts of it find, and other apps have none
    assert first is not second
    assert host_of(app) is second
    assert has_host(app)
    assert not has_host(other)
    with pytest.raises(KeyError):
        host_of(other)


def test_two_workers_of_one_host_name_have_two_names_in_the_ledger(events_pipeline: InlinePipeline) -> None:
    # Given two runs of a worker
    first, second = host(events_pipeline), host(events_pipeline)
    # When the ledger hears of them, then each by a name of its own, which begins with that of the machine
    names = {first.worker_name("w1"), second.worker_name("w1")}
    assert len(names) == 2
    assert all(name.startswith("w1/") for name in names)
