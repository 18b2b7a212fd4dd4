"""What a worker's parts share has one place, on Celery's app."""

from celery import Celery

from events.monitoring.worker_counts import WorkerCounts
from events.testing import InlinePipeline
from events.worker.host import Host


def host(pipeline: InlinePipeline) -> Host:
    return Host(pipeline=pipeline, worker_counts=WorkerCounts([], []))


def test_celery_has_no_attribute_where_the_host_is() -> None:
    assert not hasattr(Celery, "host")


def test_two_workers_of_one_host_name_have_two_names_in_the_ledger(events_pipeline: InlinePipeline) -> None:
    # Given two runs of a worker
    first, second = host(events_pipeline), host(events_pipeline)
    # When the ledger hears of them, then each by a name of its own, which begins with that of the machine
    names = {first.worker_name("w1"), second.worker_name("w1")}
    assert len(names) == 2
    assert all(name.startswith("w1/") for name in names)
